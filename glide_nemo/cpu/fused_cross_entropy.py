"""Cross entropy over a whole vocabulary: one exponential of each logit in its place, and the gradient in place of it.

A vocabulary that is split over tensor-parallel processes stays with Megatron's own unfused function.
Shape suffixes: S = sequence, B = batch, V = vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from glide_nemo.cpu.kernels import compiled, fits
from glide_nemo.cpu.seams import Seams


def apply(seams: Seams) -> None:
    """Takes the place of Megatron's fused function, which rounds the gradient to bfloat16 whatever the logits are."""
    from megatron.core.tensor_parallel import vocab_parallel_cross_entropy

    seams.replace_in(
        "megatron.core.models.common.language_module.language_module",
        "fused_vocab_parallel_cross_entropy",
        _or_unfused(vocab_parallel_cross_entropy),
        answers="grad_input.to(torch.bfloat16), core/fusions/fused_cross_entropy.py:82",
    )


class CrossEntropy(torch.autograd.Function):
    """-log softmax(logits)[target] of each token, in fp32. Overwrites the logits, as Megatron's own functions do."""

    @staticmethod
    def forward(ctx: Any, logits_SBV: torch.Tensor, target_SB: torch.Tensor) -> torch.Tensor:
        target_SB = target_SB.contiguous()
        softmax_SBV = logits_SBV.contiguous()
        loss = compiled().cross_entropy_(softmax_SBV, target_SB)
        ctx.softmax_SBV = softmax_SBV  # not saved: overwritten
        ctx.save_for_backward(target_SB)
        return loss.view_as(target_SB)

    @staticmethod
    def backward(ctx: Any, grad_SB: torch.Tensor) -> tuple[torch.Tensor, None]:
        assert ctx.softmax_SBV is not None, "the gradient is computed in place, once"
        grad_SBV, ctx.softmax_SBV = ctx.softmax_SBV, None
        compiled().cross_entropy_gradient_(grad_SBV, *ctx.saved_tensors, grad_SB.contiguous())
        return grad_SBV, None


def _or_unfused(unfused: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def cross_entropy(
        vocab_parallel_logits: torch.Tensor, target: torch.Tensor, tp_group: torch.distributed.ProcessGroup
    ) -> torch.Tensor:
        if tp_group.size() > 1 or not fits(vocab_parallel_logits):
            return unfused(vocab_parallel_logits, target, tp_group=tp_group)
        return CrossEntropy.apply(vocab_parallel_logits, target)

    return cross_entropy
