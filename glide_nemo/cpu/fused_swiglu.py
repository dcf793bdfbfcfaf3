"""SwiGLU with its gradient in closed form: half the passes over the widest activation, and half of what is kept."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from glide_nemo.cpu.seams import Seams


def apply(seams: Seams) -> None:
    """Takes the place of Megatron's fused function, which it compiles for a GPU."""
    seams.replace_in(
        "megatron.core.transformer.mlp",
        "bias_swiglu_impl",
        swiglu,
        answers="@jit_fuser def swiglu, core/fusions/fused_bias_swiglu.py:15",
    )


class SwiGlu(torch.autograd.Function):
    """silu(gate) * up, of (..., 2F) whose last dimension is gate, then up (Shazeer, arXiv 2002.05202, equation 6)."""

    @staticmethod
    def forward(ctx: Any, both: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(both)
        gate, up = both.chunk(2, -1)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        (both,) = ctx.saved_tensors
        gate, up = both.chunk(2, -1)
        of_both = torch.empty_like(both)
        of_gate, of_up = of_both.chunk(2, -1)
        torch.ops.aten.silu_backward.grad_input(grad * up, gate, grad_input=of_gate)
        torch.mul(F.silu(gate), grad, out=of_up)
        return of_both


def swiglu(
    both: torch.Tensor, bias: torch.Tensor | None, fp8_input_store: bool = False, cpu_offload_input: bool = False
) -> torch.Tensor:
    """As Megatron calls it: `both` of shape (S, B, 2F) or (T, 2F), with a bias of (2F,) or none."""
    assert not (fp8_input_store or cpu_offload_input), "not used by a GLiDE model"
    return SwiGlu.apply(both if bias is None else both + bias)
