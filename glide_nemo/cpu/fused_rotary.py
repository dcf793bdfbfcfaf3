"""Rotary positions in four passes over a tensor instead of nine, and their cosines once a step instead of per layer.

Shape suffixes: S = sequence, B = batch, N = heads, H = head dimension; half = H / 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from glide_nemo.cpu.seams import Seams

Tables = tuple[torch.Tensor, torch.Tensor]


def apply(seams: Seams) -> None:
    """Answers only what GLiDE's models ask for, whole heads turned in halves; Megatron's own function does the rest."""
    seams.wrap_in(
        "megatron.core.models.common.embeddings.rope_utils",
        "_apply_rotary_pos_emb_bshd",
        _or_megatrons,
        answers="t * cos_ + _rotate_half(t) * sin_, core/models/common/embeddings/rope_utils.py:127",
    )


class Rotate(torch.autograd.Function):
    """Turns pairs (x[i], x[i + half]) by the angles of their positions; the gradient is turned back."""

    @staticmethod
    def forward(ctx: Any, x_SBNH: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x_SBNH, cos, sin, 1)

    @staticmethod
    def backward(ctx: Any, grad_SBNH: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turned(grad_SBNH, cos, sin, -1), None, None


def _turned(x_SBNH: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, sign: int) -> torch.Tensor:
    turned = torch.empty(x_SBNH.shape, dtype=x_SBNH.dtype)
    (first, second), (to_first, to_second) = x_SBNH.chunk(2, -1), turned.chunk(2, -1)
    torch.mul(first, cos, out=to_first).addcmul_(second, sin, value=-sign)
    torch.mul(second, cos, out=to_second).addcmul_(first, sin, value=sign)
    return turned


def _or_megatrons(megatrons: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    tables: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # by the angles, which all layers of a step share

    def rotate(
        t: torch.Tensor,
        freqs: torch.Tensor,
        rotary_interleaved: bool = False,
        mla_rotary_interleaved: bool = False,
        mscale: float = 1.0,
        **others: Any,
    ) -> torch.Tensor:
        if rotary_interleaved or mla_rotary_interleaved or others.get("multi_latent_attention"):
            return megatrons(t, freqs, rotary_interleaved, mla_rotary_interleaved, mscale=mscale, **others)
        if freqs.size(-1) != t.size(-1) or freqs.requires_grad:
            return megatrons(t, freqs, mscale=mscale, **others)
        known: dict[tuple[float, torch.dtype], Tables] = tables.setdefault(freqs, {})
        if (mscale, t.dtype) not in known:
            angles = freqs[..., : freqs.size(-1) // 2]  # the second half repeats the first
            known[mscale, t.dtype] = ((angles.cos() * mscale).to(t.dtype), (angles.sin() * mscale).to(t.dtype))
        return Rotate.apply(t, *known[mscale, t.dtype])

    return rotate
