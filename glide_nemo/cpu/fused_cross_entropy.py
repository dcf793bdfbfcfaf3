"""Cross entropy over a whole vocabulary: one exponential of each logit, and the gradient in place of it.

A vocabulary that is split over tensor-parallel processes stays with Megatron's own function.
Shape suffixes: S = sequence, B = batch, V = vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from glide_nemo.cpu.seams import Seams


def apply(seams: Seams) -> None:
    """Takes the place of Megatron's fused function, whose parts it compiles for a GPU."""
    from megatron.core.tensor_parallel import vocab_parallel_cross_entropy

    seams.replace_in(
        "megatron.core.models.common.language_module.language_module",
        "fused_vocab_parallel_cross_entropy",
        _or_split(vocab_parallel_cross_entropy),
        answers="@jit_fuser def calculate_predicted_logits, core/fusions/fused_cross_entropy.py:30",
    )


class CrossEntropy(torch.autograd.Function):
    """-log softmax(logits)[target] of each token, in fp32."""

    @staticmethod
    def forward(ctx: Any, logits_SBV: torch.Tensor, target_SB: torch.Tensor) -> torch.Tensor:
        wide_SBV = logits_SBV.float()
        largest_SB1 = wide_SBV.amax(-1, keepdim=True)
        # Not torch.log_softmax, which in a training step takes ten times what these take together.
        exponential_SBV = torch.sub(wide_SBV, largest_SB1).exp_()
        total_SB = exponential_SBV.sum(-1)
        ctx.exponential_SBV, ctx.dtype = exponential_SBV, logits_SBV.dtype  # not a saved tensor: it is overwritten
        ctx.save_for_backward(target_SB, total_SB)
        of_target_SB1 = wide_SBV.gather(-1, target_SB.unsqueeze(-1)) - largest_SB1
        return total_SB.log() - of_target_SB1.squeeze(-1)

    @staticmethod
    def backward(ctx: Any, grad_SB: torch.Tensor) -> tuple[torch.Tensor, None]:
        target_SB, total_SB = ctx.saved_tensors
        assert ctx.exponential_SBV is not None, "the gradient is computed in place, once"
        grad_SBV, ctx.exponential_SBV = ctx.exponential_SBV, None
        grad_SBV.mul_((grad_SB / total_SB).unsqueeze(-1))
        grad_SBV.scatter_add_(-1, target_SB.unsqueeze(-1), -grad_SB.unsqueeze(-1))
        return grad_SBV.to(ctx.dtype), None


def _or_split(split: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def cross_entropy(
        vocab_parallel_logits: torch.Tensor, target: torch.Tensor, tp_group: torch.distributed.ProcessGroup
    ) -> torch.Tensor:
        if tp_group.size() > 1:
            return split(vocab_parallel_logits, target, tp_group=tp_group)
        return CrossEntropy.apply(vocab_parallel_logits, target)

    return cross_entropy
