"""The compiled kernels (kernels.cpp), where `make setup` built them for the kind of processor that this is.

Without them each fused function is what it takes the place of: Megatron's or torch's own composition of operations.
"""

from __future__ import annotations

import functools
import importlib
from types import ModuleType

import torch


@functools.cache
def compiled() -> ModuleType | None:
    """The kernels for this processor's instructions, None where there are none."""
    try:
        return importlib.import_module(f"glide_nemo.cpu._kernels_{torch.backends.cpu.get_cpu_capability().lower()}")
    except ImportError:
        return None


def fits(*tensors: torch.Tensor) -> bool:
    """Whether the kernels take these: real fp32 values on the CPU."""
    return compiled() is not None and all(
        tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in tensors
    )
