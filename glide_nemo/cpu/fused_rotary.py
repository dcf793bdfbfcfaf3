"""Rotary positions in one pass over a tensor, and their cosines once a step instead of once a layer.

Shape suffixes: S = sequence, B = batch, N = heads, H = head dimension; half = H / 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from glide_nemo.cpu.kernels import compiled, fits
from glide_nemo.cpu.seams import Seams

Tables = tuple[torch.Tensor, torch.Tensor]  # cosines and sines, (S, half) each


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
        return compiled().rotate(x_SBNH, cos, sin, 1.0)

    @staticmethod
    def backward(ctx: Any, grad_SBNH: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return compiled().rotate(grad_SBNH.contiguous(), *ctx.saved_tensors, -1.0), None, None


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
        halves = not (rotary_interleaved or mla_rotary_interleaved or others.get("multi_latent_attention"))
        whole = freqs.shape == (t.size(0), 1, 1, t.size(-1)) and not freqs.requires_grad
        if not (halves and whole and fits(t) and t.dim() == 4 and t.stride(-1) == 1):
            return megatrons(t, freqs, rotary_interleaved, mla_rotary_interleaved, mscale=mscale, **others)
        known: dict[float, Tables] = tables.setdefault(freqs, {})
        if mscale not in known:
            angles = freqs.float().view(len(freqs), -1)[:, : freqs.size(-1) // 2]  # the second half repeats the first
            known[mscale] = (angles.cos() * mscale, angles.sin() * mscale)
        return Rotate.apply(t, *known[mscale])

    return rotate
