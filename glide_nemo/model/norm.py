"""The RMSNorm of a model without Transformer Engine: torch's own, told that its input may be a part of the sequence."""

from __future__ import annotations

import torch
from megatron.core.transformer.transformer_config import TransformerConfig


def rms_norm(config: TransformerConfig, hidden_size: int, eps: float = 1e-5) -> torch.nn.RMSNorm:
    """Takes the place of megatron.core.transformer.torch_norm.WrappedTorchNorm, which refuses sequence parallelism.

    Each tensor-parallel rank then normalises its own part of the sequence, so that the gradient of the weight has to be
    summed over the ranks. Megatron does so where the weight says `sequence_parallel`
    (core/distributed/finalize_model_grads.py:452).
    """
    norm = torch.nn.RMSNorm(hidden_size, eps=eps)
    norm.weight.sequence_parallel = config.sequence_parallel
    return norm
