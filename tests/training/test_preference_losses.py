"""DPO and ORPO on cases whose value follows by hand from the papers' equations."""

from __future__ import annotations

import math

import pytest
import torch

from glide_nemo.training.preference_losses import (
    answer_log_probabilities,
    divergence,
    dpo_loss,
    orpo_loss,
    token_log_probabilities,
)


def pairs(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def test_dpo_of_a_policy_that_is_its_reference_is_the_logarithm_of_two() -> None:
    chosen, rejected = pairs(-3.0, -70.0), pairs(-5.0, -2.0)
    loss = dpo_loss(chosen, rejected, chosen.detach(), rejected.detach(), beta=0.1)
    assert loss.loss_P.tolist() == pytest.approx([math.log(2)] * 2)
    loss.loss_P.sum().backward()
    assert chosen.grad.tolist() == pytest.approx([-0.05, -0.05])  # -beta * sigmoid(0)
    assert rejected.grad.tolist() == pytest.approx([0.05, 0.05])


def test_dpo_counts_what_the_policy_gained_over_its_reference() -> None:
    # gains of 3 and -1, so a margin of beta * 4 = 2
    loss = dpo_loss(pairs(-4.0), pairs(-9.0), pairs(-7.0), pairs(-8.0), beta=0.5)
    assert loss.loss_P.item() == pytest.approx(math.log(1 + math.exp(-2)))
    assert loss.chosen_reward_P.item() == pytest.approx(1.5)
    assert loss.rejected_reward_P.item() == pytest.approx(-0.5)
    assert not loss.chosen_reward_P.requires_grad


def test_label_smoothing_has_its_least_loss_where_the_margin_says_the_same_share() -> None:
    share = 0.1
    margin = pairs(math.log((1 - share) / share))  # sigmoid of it is 0.9
    dpo_loss(margin, pairs(0.0), pairs(0.0), pairs(0.0), beta=1.0, label_smoothing=share).loss_P.backward()
    assert margin.grad.item() == pytest.approx(0, abs=1e-12)


def test_orpo_of_equally_likely_answers_is_the_likelihood_and_beta_times_the_logarithm_of_two() -> None:
    loss = orpo_loss(pairs(-1.5), pairs(-1.5), pairs(1.7), beta=0.2)
    assert loss.loss_P.item() == pytest.approx(1.7 + 0.2 * math.log(2))


def test_orpo_compares_odds() -> None:
    # probabilities a token of 3/4 and 1/3: odds of 3 and 1/2, a ratio of 6, and sigmoid(log 6) = 6/7
    loss = orpo_loss(pairs(math.log(3 / 4)), pairs(math.log(1 / 3)), pairs(0.0), beta=1.0)
    assert loss.loss_P.item() == pytest.approx(math.log(7 / 6))


@pytest.mark.parametrize("certain", [-1e-9, -1e-3, -0.6931, -0.6932, -40.0, -500.0])
def test_orpo_has_a_gradient_for_answers_of_any_likelihood(certain: float) -> None:
    chosen, rejected = pairs(certain), pairs(-2.0)
    orpo_loss(chosen, rejected, pairs(0.0), beta=0.1).loss_P.backward()
    assert math.isfinite(chosen.grad.item()) and chosen.grad.item() <= 0
    assert math.isfinite(rejected.grad.item()) and rejected.grad.item() >= 0


def test_only_the_answer_counts_to_its_log_probability() -> None:
    logits = torch.log(torch.tensor([[[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]]]))
    labels, mask = torch.tensor([[0, 1, 0]]), torch.tensor([[0.0, 1.0, 1.0]])
    each = token_log_probabilities(logits, labels)
    assert answer_log_probabilities(-each, mask).tolist() == pytest.approx([math.log(0.75 * 0.9)])


def test_the_divergence_is_nothing_where_nothing_changed_and_else_positive() -> None:
    ratios = torch.tensor([0.0, 0.1, -0.1, 3.0, -3.0], dtype=torch.float64)
    found = divergence(ratios)
    assert found[0] == 0 and (found[1:] > 0).all()


def test_the_divergence_averages_to_that_of_kullback_and_leibler() -> None:
    reference = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    policy = torch.tensor([0.2, 0.2, 0.6], dtype=torch.float64)
    exact = (reference * (reference / policy).log()).sum()
    assert (reference * divergence((policy / reference).log())).sum().item() == pytest.approx(exact.item())
