"""RMSNorm and its gradient in one kernel each: torch composes both of elementary operations on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from glide_nemo.cpu.kernels import compiled, fits
from glide_nemo.cpu.seams import Seams


def apply(seams: Seams) -> None:
    """Gives the norm of a GLiDE model without Transformer Engine these kernels."""
    seams.wrap_in(
        "glide_nemo.model.norm:RmsNorm", "forward", _or_torchs, answers="rms_norm, torch/nn/modules/normalization.py"
    )


class Normalize(torch.autograd.Function):
    """x / sqrt(mean(x ** 2) + eps) * weight of each row (Zhang and Sennrich, arXiv 1910.07467, equation 4)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        x = x.contiguous()
        result, scales = compiled().rms_norm(x, weight, eps)
        ctx.save_for_backward(x, weight, scales)
        return result

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        return *compiled().rms_norm_gradient(grad.contiguous(), *ctx.saved_tensors), None


def _or_torchs(torchs: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def forward(self: torch.nn.RMSNorm, x: torch.Tensor) -> torch.Tensor:
        return Normalize.apply(x, self.weight, self.eps) if fits(x, self.weight) else torchs(self, x)

    return forward
