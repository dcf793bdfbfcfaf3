"""The averaged weights are the closed form's, survive a kill to the byte, and load wherever a checkpoint does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError
from glide_nemo.training import loop
from glide_nemo.training.pretrain import plan_training, pretrain
from glide_nemo.training.worker import run_with_megatron

DECAY, INTERVAL = 0.7, 2
AVERAGED = (f"ema.decay={DECAY}", f"ema.interval={INTERVAL}")


def differences_from_closed_form(overrides: tuple[str, ...], paths: loop.Paths, report: loop.Report) -> dict[str, Any]:
    """Largest differences of the saved average from its closed form and from the last weights, over all parameters."""
    import torch

    from glide_nemo.model.bridge import loaded_model
    from glide_nemo.training.ema import WeightAverage

    trajectory: list[dict[str, torch.Tensor]] = []  # weights at the start and after each step

    def record(self: WeightAverage, context: Any) -> None:
        (model,) = context.model
        weights = {name: weight.detach().double() for name, weight in model.named_parameters()}
        trajectory.append({name.replace("module.", ""): weight.clone() for name, weight in weights.items()})

    for event in ("on_train_start", "on_train_step_end"):
        averages = getattr(WeightAverage, event)

        def both(self: WeightAverage, context: Any, averages: Any = averages) -> None:
            record(self, context)
            averages(self, context)

        setattr(WeightAverage, event, both)
    loop.train("glide_nano_phaseB", overrides, paths, report)
    with loaded_model(paths.out / "ema") as model:
        average = {name: weight.detach().double() for name, weight in model.named_parameters()}
    sampled = trajectory[INTERVAL::INTERVAL]
    found = {"closed_form": 0.0, "last": 0.0, "steps": len(trajectory) - 1}
    for name, ours in average.items():
        expected = DECAY ** len(sampled) * trajectory[0][name]
        for age, weights in enumerate(reversed(sampled)):
            expected = expected + (1 - DECAY) * DECAY**age * weights[name]
        found["closed_form"] = max(found["closed_form"], float((ours - expected).abs().max()))
        found["last"] = max(found["last"], float((ours - trajectory[-1][name]).abs().max()))
    return found


def test_the_average_is_the_closed_form_of_the_weights_it_saw(
    small_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    paths = loop.Paths(small_tokens.path, small_tokens.input("tokenizer").path.resolve(), tmp_path)
    found = run_with_megatron(differences_from_closed_form, (*tiny, *AVERAGED), paths, log=tmp_path / "log")
    assert found["steps"] == 11
    assert found["closed_form"] < 2e-7, "fp32 rounds to 6e-8 of weights up to 1"
    assert found["last"] > 1e-3, "the weights have not moved"


def seconds(overrides: tuple[str, ...], paths: loop.Paths, report: loop.Report) -> list[tuple[float, float]]:
    """(seconds of an update of the average, seconds of the step it came after) of each update."""
    import time

    from glide_nemo.training.ema import WeightAverage

    pairs: list[tuple[float, float]] = []
    update, began = WeightAverage.on_train_step_end, [0.0]

    def timed(self: WeightAverage, context: Any) -> None:
        before = time.perf_counter()
        update(self, context)
        pairs.append((time.perf_counter() - before, before - began[0]))

    def begin(self: WeightAverage, context: Any) -> None:
        began[0] = time.perf_counter()

    WeightAverage.on_train_step_start, WeightAverage.on_train_step_end = begin, timed
    loop.train("glide_nano_phaseB", overrides, paths, report)
    return pairs


def test_an_average_every_ten_steps_costs_less_than_a_twentieth_of_them(small_tokens: Artifact, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    paths = loop.Paths(small_tokens.path, small_tokens.input("tokenizer").path.resolve(), tmp_path)
    overrides = ("ema.interval=1", "train.train_iters=12", "validation.eval_iters=0", "checkpoint.save_interval=0")
    pairs = run_with_megatron(seconds, overrides, paths, log=tmp_path / "log")
    shares = sorted(update / (10 * step) for update, step in pairs[2:])  # pairs share what else the machine does
    assert shares[len(shares) // 2] < 0.05, shares


@pytest.fixture(scope="module")
def averaged(small_tokens: Artifact, uninterrupted: Artifact, tiny: tuple[str, ...], tmp_path_factory: Any) -> Artifact:
    plan = plan_training("glide_nano_phaseB", (*tiny, *AVERAGED))
    return pretrain(plan, small_tokens, tmp_path_factory.mktemp("ema") / "out", init_from=uninterrupted)


def test_a_killed_run_ends_with_the_same_average(
    averaged: Artifact, uninterrupted: Artifact, small_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path,
    killed_at: Any,
) -> None:  # fmt: skip
    plan = plan_training("glide_nano_phaseB", (*tiny, *AVERAGED))
    with killed_at(7):  # the last checkpoint is of step 4, the last update of step 6
        pretrain(plan, small_tokens, tmp_path / "out", init_from=uninterrupted)
    again = pretrain(plan, small_tokens, tmp_path / "out", init_from=uninterrupted)
    files = [
        {file["path"]: file["sha256"] for file in one.record["files"] if not file["path"].startswith("logs/")}
        for one in (averaged, again)
    ]
    assert any(path.startswith("ema/iter_0000011/") for path in files[0])
    assert files[0] == files[1]
    assert averaged.sha256 == again.sha256


@pytest.mark.parametrize("decay", ["1.0", "-0.1"])
def test_a_decay_that_averages_nothing_is_refused(
    decay: str, small_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    plan = plan_training("glide_nano_phaseB", (*tiny, "ema.interval=2", f"ema.decay={decay}"))
    with pytest.raises(GlideError, match=f"cannot average with ema.decay={decay}"):
        pretrain(plan, small_tokens, tmp_path / "out")
