"""Every schedule that a recipe can name gives the learning rates of its formula, and follows the length of the run."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from glide_nemo.errors import GlideError
from glide_nemo.training.loop import Report
from glide_nemo.training.worker import run_with_megatron

STEPS, WARMUP, PEAK, FLOOR = 40, 8, 1e-2, 1e-3
STABLE = STEPS - STEPS // 5


def of_range(share: float) -> float:
    return FLOOR + (PEAK - FLOOR) * share


FORMULAS: dict[str, Callable[[int], float]] = {
    "constant": lambda step: PEAK,
    "linear": lambda step: of_range(1 - (step - WARMUP) / (STEPS - WARMUP)),
    "cosine": lambda step: of_range((1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP))) / 2),
    "WSD": lambda step: PEAK if step <= STABLE else of_range(1 - math.sqrt((step - STABLE) / (STEPS - STABLE))),
}


def learning_rates(styles: list[str], report: Report) -> dict[str, list[float]]:
    """Of every step of glide_nano_phaseB under each style, as Megatron-Bridge's own scheduler sets them."""
    import torch
    from megatron.bridge.training.optim import _get_scheduler

    from glide_nemo.recipes.recipe import build_recipe

    rates = {}
    for style in styles:
        config = build_recipe(
            "glide_nano_phaseB",
            [
                f"scheduler.lr_decay_style={style}", f"train.train_iters={STEPS}",
                f"scheduler.lr_warmup_iters={WARMUP}", f"optimizer.lr={PEAK}", f"optimizer.min_lr={FLOOR}",
            ],
        ).config  # fmt: skip
        config._calculate_scheduler_steps()
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        scheduler = _get_scheduler(config.optimizer, config.scheduler, optimizer)
        rates[style] = []
        for _ in range(STEPS + 1):
            rates[style].append(optimizer.param_groups[0]["lr"])
            scheduler.step(config.train.global_batch_size)
    return rates


def test_learning_rates_are_those_of_the_formulas() -> None:
    rates = run_with_megatron(learning_rates, list(FORMULAS))
    for style, formula in FORMULAS.items():
        warmed_up = [PEAK * step / WARMUP for step in range(WARMUP)]
        expected = warmed_up + [formula(step) for step in range(WARMUP, STEPS + 1)]
        assert rates[style] == pytest.approx(expected, rel=1e-6), style


def stages(overrides: tuple[str, ...], report: Report) -> tuple[list[list[int]], int, int, int]:
    from glide_nemo.recipes.recipe import build_recipe

    config = build_recipe("glide_nano_phaseC", overrides).config
    return config.curriculum.stages, config.train.train_iters, config.model.seq_length, config.scheduler.lr_decay_iters


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("train.train_iters=5",), ([[512, 2], [1024, 3]], 5, 1024, 5)),
        (("train.train_iters=1",), ([[1024, 1]], 1, 1024, 1)),
        (("model.seq_length=64", "train.train_iters=4"), ([[32, 2], [64, 2]], 4, 64, 4)),
        (("curriculum.stages=[[64,3],[128,4],[256,2]]",), ([[64, 3], [128, 4], [256, 2]], 9, 256, 9)),
    ],
)
def test_a_curriculum_follows_the_length_of_the_run_or_sets_it(overrides: tuple[str, ...], expected: tuple) -> None:
    assert run_with_megatron(stages, overrides) == expected


@pytest.mark.parametrize("given", ["[[64]]", "[64,2]", "[[64,0]]", "[[64,2.5]]", "[[a,2]]"])
def test_stages_that_are_none_are_refused(given: str) -> None:
    with pytest.raises(GlideError, match=r"curriculum\.stages"):
        run_with_megatron(stages, (f"curriculum.stages={given}",))
