"""The RMSNorm of a model without Transformer Engine, for a part of the sequence too."""

from __future__ import annotations

import torch
from megatron.core.transformer.transformer_config import TransformerConfig


class RmsNorm(torch.nn.RMSNorm):
    """torch's module, under a name that a backend can give kernels of its own."""


def rms_norm(config: TransformerConfig, hidden_size: int, eps: float = 1e-5) -> RmsNorm:
    """Takes the place of megatron.core.transformer.torch_norm.WrappedTorchNorm, which refuses sequence parallelism.

    Each tensor-parallel rank then normalises its own part of the sequence, so that the gradient of the weight has to be
    summed over the ranks. Megatron does so where the weight says `sequence_parallel`
    (core/distributed/finalize_model_grads.py:452).
    """
    norm = RmsNorm(hidden_size, eps=eps)
    norm.weight.sequence_parallel = config.sequence_parallel
    return norm
