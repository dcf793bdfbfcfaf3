"""SwiGLU and its gradient in one pass each: the widest activation is read once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from glide_nemo.cpu.kernels import compiled, fits
from glide_nemo.cpu.seams import Seams


def apply(seams: Seams) -> None:
    """Takes the place of Megatron's fused function, which it compiles for a GPU."""
    seams.wrap_in(
        "megatron.core.transformer.mlp",
        "bias_swiglu_impl",
        _or_megatrons,
        answers="@jit_fuser def swiglu, core/fusions/fused_bias_swiglu.py:15",
    )


class SwiGlu(torch.autograd.Function):
    """silu(gate) * up, of (..., 2F) whose last dimension is gate, then up (Shazeer, arXiv 2002.05202, equation 6)."""

    @staticmethod
    def forward(ctx: Any, both: torch.Tensor) -> torch.Tensor:
        both = both.contiguous()
        ctx.save_for_backward(both)
        return compiled().swiglu(both)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return compiled().swiglu_gradient(*ctx.saved_tensors, grad.contiguous())


def _or_megatrons(megatrons: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def swiglu(both: torch.Tensor, bias: torch.Tensor | None, *stored: bool) -> torch.Tensor:
        if bias is not None or any(stored) or not fits(both):
            return megatrons(both, bias, *stored)
        return SwiGlu.apply(both)

    return swiglu
