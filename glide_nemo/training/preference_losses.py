"""DPO and ORPO as formulas: from log-probabilities of answers to losses and rewards. Torch only, one value a pair.

Shape suffixes: B = rows, S = sequence, P = pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F


class PreferenceLoss(NamedTuple):
    """Of each pair: the loss, with its gradient, and the implicit rewards of both answers, without."""

    loss_P: torch.Tensor
    chosen_reward_P: torch.Tensor
    rejected_reward_P: torch.Tensor


def answer_log_probabilities(losses_BS: torch.Tensor, mask_BS: torch.Tensor) -> torch.Tensor:
    """log p(answer | prompt) of each row, of shape (B,): the sum over the tokens of the answer.

    `losses_BS` is what Megatron-Core's GPTModel returns where it is given labels: -log p(label) by its vocab-parallel
    cross entropy, so that it is whole on each tensor-parallel rank though the logits are not.
    """
    return -(losses_BS.float() * mask_BS).sum(dim=1)


def token_log_probabilities(logits_BSV: torch.Tensor, labels_BS: torch.Tensor) -> torch.Tensor:
    """log p(label) of each token, of shape (B, S), from whole logits, as models without labels return them."""
    return torch.log_softmax(logits_BSV.float(), dim=-1).gather(-1, labels_BS.unsqueeze(-1)).squeeze(-1)


def dpo_loss(
    chosen_P: torch.Tensor,
    rejected_P: torch.Tensor,
    reference_chosen_P: torch.Tensor,
    reference_rejected_P: torch.Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
) -> PreferenceLoss:
    """Direct preference optimization from log-probabilities summed over each answer (arXiv 2305.18290, equation 7).

    An answer's reward is beta * log(policy / reference), the loss -log sigmoid(chosen - rejected). With
    `label_smoothing` that share of the pairs is taken to be the wrong way round (cDPO, Mitchell 2023, equation 3).
    """
    chosen_reward_P = beta * (chosen_P - reference_chosen_P)
    rejected_reward_P = beta * (rejected_P - reference_rejected_P)
    margin_P = chosen_reward_P - rejected_reward_P
    loss_P = -(1 - label_smoothing) * F.logsigmoid(margin_P) - label_smoothing * F.logsigmoid(-margin_P)
    return PreferenceLoss(loss_P, chosen_reward_P.detach(), rejected_reward_P.detach())


def orpo_loss(
    chosen_mean_P: torch.Tensor, rejected_mean_P: torch.Tensor, chosen_nll_P: torch.Tensor, *, beta: float
) -> PreferenceLoss:
    """Odds ratio preference optimization (arXiv 2403.07691, equations 4, 6 and 7; its lambda is beta here).

    From log-probabilities averaged over the tokens of each answer, and the negative log-likelihood of the whole chosen
    text, prompt too, averaged over its tokens: `nll - beta * log sigmoid(log odds(chosen) - log odds(rejected))`.
    """
    log_odds_P = (chosen_mean_P - rejected_mean_P) - (_log1mexp(chosen_mean_P) - _log1mexp(rejected_mean_P))
    loss_P = chosen_nll_P - beta * F.logsigmoid(log_odds_P)
    return PreferenceLoss(loss_P, beta * chosen_mean_P.detach(), beta * rejected_mean_P.detach())


def divergence(log_ratio: torch.Tensor) -> torch.Tensor:
    """Of log(policy / reference) of tokens: Schulman's estimator k3 of KL(reference || policy), never negative.

    Unbiased on what the reference wrote (joschu.net/blog/kl-approx.html); on given answers a measure of the drift.
    """
    return torch.expm1(log_ratio) - log_ratio


def _log1mexp(negative: torch.Tensor) -> torch.Tensor:
    """log(1 - exp(x)) for x < 0, exact at both ends (Mächler 2012, equation 7)."""
    return torch.where(
        negative > -0.6931471805599453,
        torch.log(-torch.expm1(negative)),
        torch.log1p(-torch.exp(torch.clamp(negative, max=-0.6931471805599453))),
    )
