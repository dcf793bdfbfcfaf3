"""Recipes: names, and what overrides do to a run's length and schedule."""

from __future__ import annotations

import pytest

from glide_nemo.errors import GlideError
from glide_nemo.recipes import phase_a, phase_b, phase_c, sft
from glide_nemo.recipes.recipe import describe_recipes, prefix, recipe_names, split_name
from glide_nemo.training import loop
from glide_nemo.training.worker import run_with_megatron

WHOLE = phase_b.RUNS["nano"].train_iters


def test_names_are_those_of_the_design() -> None:
    assert {"glide3b_phaseA", "glide3b_phaseB", "glide125m_phaseB", "glide_nano_phaseB"} <= set(recipe_names())
    assert split_name("glide3b_phaseB") == ("phaseB", "3b")
    assert prefix("nano") == "glide_nano" and prefix("125m") == "glide125m"


def test_every_recipe_is_described_in_one_line() -> None:
    described = dict(describe_recipes())
    assert set(described) == set(recipe_names())
    assert all(line.partition(" parameters: ")[2] and "\n" not in line for line in described.values())


def test_a_name_like_no_other_is_refused_without_a_guess() -> None:
    with pytest.raises(GlideError, match="unknown recipe 'xyz': --list shows all"):
        split_name("xyz")


@pytest.mark.parametrize("runs", [phase_a.RUNS, phase_b.RUNS, phase_c.RUNS, sft.RUNS])
def test_every_run_warms_up_before_it_decays_and_divides_its_batch(runs: dict) -> None:
    for run in runs.values():
        assert run.warmup_iters < run.train_iters
        assert run.min_lr == pytest.approx(run.lr / 10)
        copy = run.tensor_model_parallel_size * run.pipeline_model_parallel_size * run.context_parallel_size
        data_parallel = max(run.gpus, 1) // copy
        for length, _ in run.stages or ((run.seq_length, run.train_iters),):
            global_batch, micro_batch = (
                size * run.seq_length / length for size in (run.global_batch_size, run.micro_batch_size)
            )
            assert micro_batch % 1 == 0 and global_batch % (micro_batch * data_parallel) == 0


@pytest.mark.parametrize("runs", [phase_b.RUNS, phase_c.RUNS])
def test_stages_are_as_long_as_the_run(runs: dict) -> None:
    for run in [run for run in runs.values() if run.stages]:
        assert sum(steps for _, steps in run.stages) == run.train_iters
        assert run.stages[-1][0] == run.seq_length


def schedule(*overrides: str) -> tuple[int, int, int]:
    """Length, decay and warm-up of glide_nano_phaseB, in steps."""
    config = run_with_megatron(loop.plan, "glide_nano_phaseB", overrides).config
    return config["train"]["train_iters"], config["scheduler"]["lr_decay_iters"], config["scheduler"]["lr_warmup_iters"]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), (WHOLE, WHOLE, 10)),
        (("train.train_iters=50",), (50, 50, 10)),
        (("train.train_iters=5",), (5, 5, 2)),
        (("train.train_iters=1",), (1, 1, 0)),
        (("train.train_iters=500",), (500, 500, 10)),
        (("train.train_iters=50", "scheduler.lr_decay_iters=240"), (50, 240, 10)),
        (("train.train_iters=50", "scheduler.lr_warmup_iters=40"), (50, 50, 40)),
        (("scheduler.lr_decay_iters=100",), (WHOLE, 100, 10)),
    ],
)
def test_the_schedule_follows_the_length_of_the_run(overrides: tuple[str, ...], expected: tuple[int, ...]) -> None:
    assert schedule(*overrides) == expected


def test_overrides_reach_the_plan() -> None:
    overrides = ("model.num_layers=2", "train.micro_batch_size=8", "optimizer.lr=1e-3", "model.seq_length=64")
    plan = run_with_megatron(loop.plan, "glide_nano_phaseA", overrides)
    assert (plan.architecture.num_layers, plan.layout.micro_batch_size, plan.seq_length) == (2, 8, 64)
    assert plan.config["optimizer"]["lr"] == 1e-3
    assert plan.config["dataset"]["seq_length"] == 64, "data and model read sequences of one length"


def test_positions_that_are_not_stretched_keep_no_factor_of_yarn() -> None:
    plan = run_with_megatron(loop.plan, "glide_nano_sft", ("model.position_embedding_type=rope",))
    assert [value for key, value in plan.config["model"].items() if key.startswith("yarn_") and value is not None] == []
    assert plan.architecture.rope_scaling is None
    stretched = run_with_megatron(loop.plan, "glide_nano_sft", ())
    assert stretched.config["model"]["yarn_rotary_scaling_factor"] == stretched.architecture.rope_scaling_factor > 1
    with pytest.raises(GlideError, match=r"model\.yarn_beta_fast stretches positions and .*=rope does not"):
        overrides = ("model.position_embedding_type=rope", "model.yarn_beta_fast=16")
        run_with_megatron(loop.plan, "glide_nano_sft", overrides)
