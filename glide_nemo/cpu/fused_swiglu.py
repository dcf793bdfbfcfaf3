"""SwiGLU with its gradient in closed form, in parts that stay in the cache: the widest activation is read once."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from glide_nemo.cpu.parts import in_parts
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
        result = both.new_empty(*both.shape[:-1], both.size(-1) // 2)
        for part, of_part in zip(in_parts(both), in_parts(result, both.size(-1)), strict=True):
            gate, up = part.chunk(2, -1)
            torch.mul(F.silu(gate), up, out=of_part)
        return result

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        (both,) = ctx.saved_tensors
        of_both = torch.empty_like(both, memory_format=torch.contiguous_format)
        width = both.size(-1)
        parts = zip(in_parts(both), in_parts(grad.contiguous(), width), in_parts(of_both), strict=True)
        for part, grad_part, of_part in parts:
            (gate, up), (of_gate, of_up) = part.chunk(2, -1), of_part.chunk(2, -1)
            torch.ops.aten.silu_backward.grad_input(grad_part * up, gate, grad_input=of_gate)
            torch.mul(F.silu(gate), grad_part, out=of_up)
        return of_both


def swiglu(
    both: torch.Tensor, bias: torch.Tensor | None, fp8_input_store: bool = False, cpu_offload_input: bool = False
) -> torch.Tensor:
    """As Megatron calls it: `both` of shape (S, B, 2F) or (T, 2F), with a bias of (2F,) or none."""
    assert not (fp8_input_store or cpu_offload_input), "not used by a GLiDE model"
    return SwiGlu.apply((both if bias is None else both + bias).contiguous())
