"""A run that goes on after pretraining: each phase is told by its own measure, and refusals where they were asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_run import checkpoint_metrics, evaluation_metrics, seal

from glide_nemo.release.report import bits_per_byte, render, training_charts
from glide_nemo.release.story import Story, read


@pytest.fixture
def told(tmp_path: Path) -> Story:
    run = tmp_path / "run"
    corpus = seal(run / "corpus", "corpus", {}, "300 documents")
    tokens = seal(run / "tokens", "tokens", {}, "1,145,718 tokens", corpus=corpus)
    pairs = seal(run / "dpo.pairs", "tokens", {}, "1,000 pairs")
    base = seal(run / "phase_b", "checkpoint", checkpoint_metrics(200, 6.1, 2.9, 400_000), "base", tokens=tokens)
    base_model = seal(run / "phase_b_hf", "model", {}, "exported", checkpoint=base)
    seal(run / "phase_b_evaluation", "evaluation", evaluation_metrics(" text"), "1.45", model=base_model, corpus=corpus)
    rewards = {"rewards": [[step, 0.5 + step / 200, step / 50] for step in range(1, 61)]}
    preferred = checkpoint_metrics(60, 0.69, 0.41, 100_000) | rewards | {"heldout": {"reward_accuracy": 0.71}}
    dpo = seal(run / "dpo", "checkpoint", preferred, "preferred", tokens=pairs, init_from=base)
    model = seal(run / "hf", "model", {}, "exported", checkpoint=dpo)
    rate = {"rate": 0.75, "low": 0.41, "high": 0.93, "n": 8, "refused": 6, "empty": 0}
    metrics = evaluation_metrics(" text") | {"refusals": {"unsafe": rate, "safe": rate | {"rate": 0.125}}}
    metrics["bits_per_byte"] = metrics["bits_per_byte"] | {"model": 1.6}
    seal(run / "evaluation", "evaluation", metrics, "1.6", model=model, corpus=corpus)
    return read(run, run / "report")


def test_a_loss_of_pairs_is_not_drawn_among_losses_of_tokens(told: Story) -> None:
    loss, _, _, rewards = training_charts(told)
    assert loss.title == "Training loss" and max(y for line in loss.lines for _, y in line.points) > 2
    assert min(y for line in loss.lines for _, y in line.points) > 2  # and no 0.41 of pairs
    assert rewards.title == "Reward accuracy" and rewards.marks[0].label == "held-out 71%"
    assert rewards.lines[0].points[0][0] > 400_000, "after the tokens of the phase before"


def test_bits_per_byte_are_told_before_and_after(told: Story) -> None:
    assert [(row["name"], row["model"]) for row in bits_per_byte(told)] == [("phase_b", 1.4509), ("dpo", 1.6)]
    page = render(told)
    assert "after phase_b" in page and "1.451" in page and "1.600" in page


def test_refusal_rates_and_every_set_of_tokens_are_on_the_page(told: Story) -> None:
    page = render(told)
    assert "75 %" in page and "12 %" in page and "41 to 93 %" in page
    assert "Tokens: 1,145,718 tokens." in page and "Dpo.pairs: 1,000 pairs." in page
