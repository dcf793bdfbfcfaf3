"""Causal attention whose queries share keys, over sequences as they lie in memory: nothing is repeated or moved.

torch's kernel for a CPU wants the heads first and as many keys as queries, and multiplies small tiles: half the speed
forwards and backwards at the lengths that a CPU trains on (benchmarks/training.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from glide_nemo.cpu.kernels import compiled, fits
from glide_nemo.cpu.seams import Seams

LONGEST = 2_048  # tokens; beyond it rows of scores leave the cache, and torch's tiles are as fast


def apply(seams: Seams) -> None:
    """Gives the attention of a GLiDE model without Transformer Engine these kernels."""
    seams.wrap_in(
        "glide_nemo.model.layer_spec",
        "causal_attention",
        _or_torchs,
        answers="_scaled_dot_product_flash_attention_for_cpu, aten/src/ATen/native/cpu/FlashAttentionKernel.cpp",
    )


class Attention(torch.autograd.Function):
    """softmax(query key^T * scale) value of each head, each query over itself and what is before it."""

    @staticmethod
    def forward(
        ctx: Any, query_SBNH: torch.Tensor, key_SBGH: torch.Tensor, value_SBGH: torch.Tensor, scale: float
    ) -> torch.Tensor:
        context_SBNH, logs_BNS = compiled().attention(query_SBNH, key_SBGH, value_SBGH, scale)
        ctx.save_for_backward(query_SBNH, key_SBGH, value_SBGH, context_SBNH, logs_BNS)
        ctx.scale = scale
        return context_SBNH

    @staticmethod
    def backward(ctx: Any, grad_SBNH: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return *compiled().attention_gradient(grad_SBNH.contiguous(), *ctx.saved_tensors, ctx.scale), None


def _or_torchs(torchs: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def causal_attention(
        query_SBNH: torch.Tensor,
        key_SBGH: torch.Tensor,
        value_SBGH: torch.Tensor,
        dropout_p: float,
        scale: float | None,
    ) -> torch.Tensor:
        given = query_SBNH, key_SBGH, value_SBGH
        if dropout_p or len(query_SBNH) > LONGEST or not fits(*given) or any(each.stride(-1) != 1 for each in given):
            return torchs(*given, dropout_p, scale)
        return Attention.apply(*given, scale or query_SBNH.size(-1) ** -0.5)

    return causal_attention
