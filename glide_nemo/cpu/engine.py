"""The one question about the device: where there is no GPU, Megatron runs on this backend; elsewhere as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def megatron_engine() -> Iterator[None]:
    """Within it Megatron-Core and Megatron-Bridge can be imported and run on what this machine has."""
    import torch

    from glide_nemo.cpu.backend import megatron_on_cpu
    from glide_nemo.cpu.imports import import_megatron

    if torch.cuda.is_available():
        import_megatron(on_gpu=True)  # beside a GPU too, optional packages may be absent
        yield
    else:
        with megatron_on_cpu():
            yield
