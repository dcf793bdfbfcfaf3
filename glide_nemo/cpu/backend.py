"""Puts the concerns of the CPU backend together: enter them all, leave them all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_installed = None  # the open context of the process-wide form


@contextmanager
def megatron_on_cpu() -> Iterator[None]:
    """Within it, Megatron-Core and Megatron-Bridge run on the CPU of this machine, with gloo between processes.

    Reversible: on leaving, torch and Megatron are as they were. Raises GlideError naming the seam where a patch does
    not fit the installed Megatron.
    """
    from glide_nemo.cpu import (
        adapters,
        allocator,
        checkpoint_writer,
        collectives,
        cuda_api,
        dataset_helpers,
        dropout,
        fused_attention,
        fused_cross_entropy,
        fused_norm,
        fused_rotary,
        fused_swiglu,
        fused_weight_gradient,
        gradient_norm,
        optimizer,
        pipeline,
        random_state,
    )
    from glide_nemo.cpu.device_mode import CudaMeansCpu
    from glide_nemo.cpu.imports import import_megatron, without_gpu_libraries
    from glide_nemo.cpu.seams import Seams

    import_megatron()
    with without_gpu_libraries(), Seams() as seams:
        allocator.apply(seams)
        cuda_api.apply(seams)
        random_state.apply(seams)
        collectives.apply(seams)
        pipeline.apply(seams)
        dataset_helpers.apply(seams)
        dropout.apply(seams)
        fused_attention.apply(seams)
        fused_norm.apply(seams)
        fused_rotary.apply(seams)
        fused_swiglu.apply(seams)
        fused_cross_entropy.apply(seams)
        fused_weight_gradient.apply(seams)
        optimizer.apply(seams)
        gradient_norm.apply(seams)
        checkpoint_writer.apply(seams)
        adapters.apply(seams)
        with CudaMeansCpu():
            yield


def install() -> None:
    """The process-wide form, for launchers: enters `megatron_on_cpu()` and stays until the process ends."""
    global _installed
    if _installed is None:
        _installed = megatron_on_cpu()
        _installed.__enter__()
