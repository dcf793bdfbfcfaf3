"""A phase goes on from another: with its optimizer or without, in stages of other lengths, from an average."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from glide_nemo import cli
from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError
from glide_nemo.training import loop
from glide_nemo.training.pretrain import plan_training, pretrain
from glide_nemo.training.worker import run_with_megatron

STAGES = ("curriculum.stages=[[32,5],[64,6]]", "train.global_batch_size=4", "train.micro_batch_size=2")


def lines(run: Artifact) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run.path / "loss.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def lengthened(
    small_tokens: Artifact, uninterrupted: Artifact, tiny: tuple[str, ...], tmp_path_factory: Any
) -> Artifact:
    plan = plan_training("glide_nano_phaseC", (*tiny, *STAGES))
    return pretrain(plan, small_tokens, tmp_path_factory.mktemp("stages") / "out", init_from=uninterrupted)


def test_every_step_of_a_curriculum_has_as_many_tokens_on_one_schedule(lengthened: Artifact) -> None:
    steps = lines(lengthened)
    assert [line["tokens"] for line in steps] == [256 * number for number in range(1, 12)]
    rates = [line["learning_rate"] for line in steps]  # 5 steps of warm-up, 6 of linear decay
    peak, floor = max(rates), 5e-5
    expected = [peak * n / 5 for n in range(5)] + [floor + (peak - floor) * (1 - n / 6) for n in range(6)]
    assert rates == pytest.approx(expected, rel=1e-5)
    assert lengthened.metrics["architecture"]["rope_scaling_factor"] == 4.0


def test_a_curriculum_killed_in_its_second_stage_ends_the_same(
    lengthened: Artifact, uninterrupted: Artifact, small_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path,
    killed_at: Any,
) -> None:  # fmt: skip
    plan = plan_training("glide_nano_phaseC", (*tiny, *STAGES))
    with killed_at(10):
        pretrain(plan, small_tokens, tmp_path / "out", init_from=uninterrupted)
    again = pretrain(plan, small_tokens, tmp_path / "out", init_from=uninterrupted)
    assert lines(again) == lines(lengthened)
    assert again.sha256 == lengthened.sha256


def test_a_batch_that_no_stage_divides_is_refused(
    small_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    overrides = (*tiny, "curriculum.stages=[[48,2],[64,2]]", "train.global_batch_size=4", "train.micro_batch_size=2")
    with pytest.raises(GlideError, match="no whole number of sequences of 48"):
        pretrain(plan_training("glide_nano_phaseC", overrides), small_tokens, tmp_path / "out")


def test_a_stretched_checkpoint_is_not_read_as_a_plain_one(
    lengthened: Artifact, small_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(GlideError, match=r"stretched by YaRN.*pass model\.position_embedding_type=yarn"):
        pretrain(plan_training("glide_nano_phaseB", tiny), small_tokens, tmp_path / "out", init_from=lengthened)


def first_update(
    continues_optimizer: bool, overrides: tuple[str, ...], paths: loop.Paths, report: Any
) -> dict[str, Any]:
    """Adam's state and the learning rate as the first step of a phase finds them."""
    from glide_nemo.recipes import recipe as recipes
    from glide_nemo.training.curves import Curves

    found: dict[str, Any] = {}
    build = recipes.build_recipe

    def declared(*args: Any) -> Any:
        recipe = build(*args)
        recipe.continues_optimizer = continues_optimizer
        return recipe

    begin = Curves.on_train_start

    def record(self: Curves, context: Any) -> None:
        begin(self, context)
        (optimizer,) = context.optimizer.chained_optimizers
        state = [
            optimizer.optimizer.state[each] for group in optimizer.optimizer.param_groups for each in group["params"]
        ]
        found["counted"] = sorted({float(each["step"]) for each in state if each})
        found["second_moment"] = sum(float(each["exp_avg_sq"].sum()) for each in state if each)
        found["rates"] = [group["lr"] for group in context.optimizer.param_groups]

    recipes.build_recipe, Curves.on_train_start = declared, record
    loop.train("glide_nano_phaseB", overrides, paths, report)
    return found


def test_the_optimizer_goes_on_where_the_recipe_says_so_and_starts_afresh_else(
    uninterrupted: Artifact, small_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    overrides = (
        *tiny,
        "train.train_iters=2",
        "optimizer.lr=4e-3",
        "optimizer.min_lr=4e-4",
        "scheduler.lr_warmup_iters=0",
    )
    found = {}
    for continues in (True, False):
        out = tmp_path / str(continues)
        (out / "logs").mkdir(parents=True)
        tokenizer = small_tokens.input("tokenizer").path.resolve()
        paths = loop.Paths(small_tokens.path, tokenizer, out, uninterrupted.path / "checkpoints")
        found[continues] = run_with_megatron(first_update, continues, overrides, paths, log=out / "log")
    assert found[True]["counted"] == [11.0] and found[True]["second_moment"] > 0
    assert found[False]["counted"] in ([], [0.0]) and found[False]["second_moment"] == 0
    assert all(set(each["rates"]) == {4e-3} for each in found.values()), "the learning rate is the new phase's"


def test_averaged_weights_start_a_phase_and_are_exported(
    small_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from glide_nemo.artifact import last, load
    from glide_nemo.export.certificate import CertificateConfig, certify
    from glide_nemo.export.targets import export
    from glide_nemo.export.weights import HuggingFaceWeights

    run = tmp_path / "run"
    plan = plan_training("glide_nano_phaseB", (*tiny, "ema.interval=2", "ema.decay=0.8"))
    pretrain(plan, small_tokens, run / "phase_b")
    command = ["pretrain", "--recipe", "glide_nano_phaseB", "--tokens", str(small_tokens.path), "--out"]
    shorter = (*tiny, "train.train_iters=1", "validation.eval_iters=0", "ema.interval=0")
    losses = {}
    for start in ("phase_b", "phase_b/ema"):
        out = tmp_path / start.replace("/", "_")
        assert cli.main([*command, str(out), "--from", str(run / start), *shorter]) == 0
        losses[start] = lines(load(out))[0]["loss"]
    assert losses["phase_b"] != losses["phase_b/ema"]
    checkpoint = last(run, "checkpoint")
    (trained,), (averaged,) = export(run, "hf"), export(run, "hf", ["weights=ema"], tmp_path / "averaged")
    name = "model.embed_tokens.weight"
    assert (HuggingFaceWeights(trained.path).read(name) != HuggingFaceWeights(averaged.path).read(name)).any()
    small = CertificateConfig(tokens=256, text_bytes=2_000)
    assert certify(small, checkpoint, {"hf": averaged}, tmp_path / "certificate").metrics["passed"]
    with pytest.raises(GlideError, match="trained and of averaged weights"):
        certify(small, checkpoint, {"hf": trained, "other": averaged}, tmp_path / "both")
    with pytest.raises(GlideError, match="kept no average of its weights"):
        export(tmp_path / "phase_b_ema", "hf", ["weights=ema"], tmp_path / "none")
