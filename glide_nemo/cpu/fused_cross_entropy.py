"""Cross entropy over a whole vocabulary: one exponential of each logit, and the gradient in place of it.

A vocabulary that is split over tensor-parallel processes stays with Megatron's own function.
Shape suffixes: S = sequence, B = batch, V = vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from glide_nemo.cpu.parts import in_parts
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
        wide_SBV = logits_SBV.float().contiguous()
        exponential_SBV, loss_SB = torch.empty_like(wide_SBV), wide_SBV.new_empty(target_SB.shape)
        total_SB = torch.empty_like(loss_SB)
        rows = zip(
            in_parts(wide_SBV),
            in_parts(exponential_SBV),
            *(in_parts(each.unsqueeze(-1), wide_SBV.size(-1)) for each in (target_SB.contiguous(), total_SB, loss_SB)),
            strict=True,
        )
        for logits_TV, exponential_TV, target_T1, total_T1, loss_T1 in rows:
            largest_T1 = logits_TV.amax(-1, keepdim=True)
            torch.sub(logits_TV, largest_T1, out=exponential_TV).exp_()
            torch.sum(exponential_TV, -1, keepdim=True, out=total_T1)
            torch.add(total_T1.log(), largest_T1, out=loss_T1).sub_(logits_TV.gather(-1, target_T1))
        ctx.exponential_SBV, ctx.dtype = exponential_SBV, logits_SBV.dtype  # not a saved tensor: it is overwritten
        ctx.save_for_backward(target_SB, total_SB)
        return loss_SB

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
