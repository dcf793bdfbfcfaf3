"""Which deduplication runs: ours on CPUs, or NeMo-Curator's on GPUs, where `cudf` can be imported."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from glide_nemo.errors import GlideError

if TYPE_CHECKING:
    from nemo_curator.stages.base import ProcessingStage

    from curator_pipelines.config import NearDuplicates

AUTO, CPU, GPU = BACKENDS = ("auto", "cpu", "gpu")


def backend_of(backend: str) -> str:
    """`cpu` or `gpu`, which of them `auto` is here. GlideError for `gpu` where cudf does not import."""
    if backend == CPU:
        return CPU
    try:
        importlib.import_module("cudf")
    except Exception as error:  # RAPIDS raises many kinds where there is no driver
        if backend == AUTO:
            return CPU
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise GlideError(
            f"near_duplicates.backend=gpu needs cudf, which does not import ({reason}): "
            "install nemo-curator[deduplication-cuda12] on a machine with an NVIDIA GPU, or choose cpu"
        ) from error
    return GPU


def duplicate_stages(near: NearDuplicates) -> list[ProcessingStage]:
    """Exact duplicates leave, then near-duplicates."""
    if backend_of(near.backend) == GPU:
        from curator_pipelines.stages.gpu_duplicates import DropExactDuplicatesOnGpu, DropNearDuplicatesOnGpu

        return [DropExactDuplicatesOnGpu(), DropNearDuplicatesOnGpu(near.threshold, near.bands, settings=near)]
    from curator_pipelines.stages.exact_duplicates import DropExactDuplicates
    from curator_pipelines.stages.near_duplicates import DropNearDuplicates

    return [DropExactDuplicates(), DropNearDuplicates(near.threshold, near.bands)]
