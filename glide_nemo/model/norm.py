"""The RMSNorm of a model without Transformer Engine, with its gradient in closed form, for a part of the sequence too.

torch composes RMSNorm of elementary operations on a CPU, and so its gradient: twice the passes over the activations.
"""

from __future__ import annotations

from typing import Any

import torch
from megatron.core.transformer.transformer_config import TransformerConfig


class Normalize(torch.autograd.Function):
    """x / sqrt(mean(x ** 2) + eps) * weight over the last dimension (Zhang and Sennrich, arXiv 1910.07467, equation 4).

    Computed in fp32 whatever the type of `x`, of shape (..., H).
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        wide = x.float()
        norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        scale = norm.square_().div_(x.size(-1)).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return (wide * scale).mul_(weight).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        x, weight, scale = ctx.saved_tensors
        wide = grad.float()
        normal = x.float() * scale
        product = wide * normal
        of_weight = product.flatten(0, -2).sum(0)
        along = torch.matmul(product, weight.float()).unsqueeze_(-1).div_(-x.size(-1))
        of_x = (wide * weight).addcmul_(normal, along).mul_(scale)
        return of_x.to(x.dtype), of_weight.to(weight.dtype), None


class RmsNorm(torch.nn.RMSNorm):
    """torch's module with the function above."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Normalize.apply(x, self.weight, self.eps)


def rms_norm(config: TransformerConfig, hidden_size: int, eps: float = 1e-5) -> RmsNorm:
    """Takes the place of megatron.core.transformer.torch_norm.WrappedTorchNorm, which refuses sequence parallelism.

    Each tensor-parallel rank then normalises its own part of the sequence, so that the gradient of the weight has to be
    summed over the ranks. Megatron does so where the weight says `sequence_parallel`
    (core/distributed/finalize_model_grads.py:452).
    """
    norm = RmsNorm(hidden_size, eps=eps)
    norm.weight.sequence_parallel = config.sequence_parallel
    return norm
