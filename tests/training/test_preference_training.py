"""DPO and ORPO in Megatron-Bridge's training loop: what they learn, log, keep and refuse, alone and in layouts."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy
import pytest
from small_pairs import packed_pairs

from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError
from glide_nemo.training import loop
from glide_nemo.training.processes import run_processes
from glide_nemo.training.worker import run_with_megatron

SHAPE = (
    "model.num_layers=2", "model.hidden_size=64", "model.ffn_hidden_size=128", "model.kv_channels=16",
    "model.num_query_groups=4", "model.vocab_size=1000", "model.seq_length=32", "train.micro_batch_size=4",
)  # fmt: skip
WARM_UP = (*SHAPE, "train.train_iters=20", "train.global_batch_size=8", "validation.eval_iters=0")
STEPS = 12
TRAINING = (
    *SHAPE, f"train.train_iters={STEPS}", "train.global_batch_size=16", "checkpoint.save_interval=4",
    "validation.eval_interval=4", "optimizer.lr=0.002", "scheduler.lr_warmup_iters=1",
    "model.position_embedding_type=rope",  # as the model they begin with has it
)  # fmt: skip


@pytest.fixture(scope="module")
def start(small_tokens: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("start")
    (out / "logs").mkdir()
    paths = loop.Paths(small_tokens.path, small_tokens.input("tokenizer").path.resolve(), out)
    run_with_megatron(loop.train, "glide_nano_phaseA", WARM_UP, paths, log=out / "log")
    return out / "checkpoints"


@pytest.fixture(scope="module")
def pairs(small_tokenizer: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return packed_pairs(tmp_path_factory.mktemp("pairs"), small_tokenizer)


def trained(
    phase: str, pairs: Artifact, start: Path | None, out: Path, *overrides: str, processes: int = 1
) -> list[dict[str, float]]:
    """The steps of a training in so many processes."""
    (out / "logs").mkdir(parents=True, exist_ok=True)
    paths = loop.Paths(pairs.path, pairs.input("tokenizer").path.resolve(), out, start)
    run_processes(processes, loop.train, f"glide_nano_{phase}", (*TRAINING, *overrides), paths, log=out / "log")
    return lines_of(out / "loss.jsonl")


def lines_of(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def alone(pairs: Artifact, start: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each phase in one process."""
    runs = {phase: tmp_path_factory.mktemp(phase) for phase in ("dpo", "orpo")}
    for phase, out in runs.items():
        trained(phase, pairs, start, out)
    return runs


def test_dpo_begins_at_its_reference(alone: dict[str, Path]) -> None:
    first = lines_of(alone["dpo"] / "loss.jsonl")[0]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert first["reward_margin"] == pytest.approx(0, abs=1e-5)
    assert first["kl"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("phase", ["dpo", "orpo"])
def test_held_out_answers_come_to_be_preferred(alone: dict[str, Path], phase: str) -> None:
    evaluations = lines_of(alone[phase] / "heldout.jsonl")
    assert [line["step"] for line in evaluations] == [4, 8, 12]
    steps = lines_of(alone[phase] / "loss.jsonl")
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert evaluations[-1]["reward_margin"] > max(steps[0]["reward_margin"], 0)
    assert evaluations[-1]["reward_accuracy"] > max(0.7, steps[0]["reward_accuracy"])


def test_dpo_leaves_its_reference(alone: dict[str, Path]) -> None:
    assert lines_of(alone["dpo"] / "loss.jsonl")[-1]["kl"] > 1e-4


def test_the_reference_holds_the_log_probability_of_every_answer_token(
    alone: dict[str, Path], pairs: Artifact, start: Path
) -> None:
    found = numpy.fromfile(alone["dpo"] / "reference.bin", "<f4")
    expected = run_with_megatron(answers_by_the_start, start, pairs.path)
    assert len(found) == sum(pairs.metrics[split]["answer_tokens"] for split in ("train", "heldout"))
    numpy.testing.assert_allclose(found[: len(expected)], expected, rtol=1e-5, atol=1e-5)


def answers_by_the_start(checkpoints: Path, directory: Path, report: loop.Report) -> list[float]:
    """Log-probabilities of the answers of the first rows, one row at a time, by the model that training begins with."""
    import torch

    from glide_nemo.model.bridge import loaded_model, logits

    lengths = numpy.frombuffer((directory / "train.idx").read_bytes(), "<i4", 6, 34)
    tokens = numpy.fromfile(directory / "train.bin", "uint16").astype("int64")
    begins = numpy.load(directory / "train.answers.npy")
    found, at = [], 0
    with loaded_model(checkpoints) as model:
        for length, answer in zip(lengths, begins, strict=False):
            ids = torch.from_numpy(tokens[at : at + length])
            at += length
            each = torch.log_softmax(logits(model, ids[None, :-1])[0], -1).gather(1, ids[1:, None])[:, 0]
            found += each[answer - 1 :].tolist()
    return found


TENSOR, PIPELINE, CONTEXT = (f"model.{name}_parallel_size=2" for name in ("tensor_model", "pipeline_model", "context"))
LAYOUTS = {
    "dpo TP2": (TENSOR,),
    "dpo PP2": (PIPELINE,),
    "dpo CP2": (CONTEXT,),
    "dpo DP2": (),
    "orpo TP2+SP": (TENSOR, "model.sequence_parallel=true"),
    "orpo PP2": (PIPELINE,),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_train_as_one_process(
    alone: dict[str, Path], pairs: Artifact, start: Path, tmp_path: Path, layout: str
) -> None:
    phase = layout.split()[0]
    found = trained(phase, pairs, start, tmp_path, *LAYOUTS[layout], processes=2)
    expected = lines_of(alone[phase] / "loss.jsonl")
    assert len(found) == STEPS
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
        assert ours["reward_margin"] == pytest.approx(theirs["reward_margin"], rel=1e-2, abs=1e-4)
    ours, theirs = (lines_of(out / "heldout.jsonl")[-1] for out in (tmp_path, alone[phase]))
    assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)


def test_a_resumed_run_reads_the_reference_and_ends_the_same(
    alone: dict[str, Path], pairs: Artifact, start: Path, tmp_path: Path
) -> None:
    shutil.copytree(alone["dpo"], tmp_path / "run")
    newest = tmp_path / "run" / "checkpoints" / f"iter_{STEPS:07d}"
    shutil.rmtree(newest)
    written = (tmp_path / "run" / "reference.bin").stat().st_mtime_ns
    trained("dpo", pairs, start, tmp_path / "run")
    assert (tmp_path / "run" / "reference.bin").stat().st_mtime_ns == written
    for name in ("loss.jsonl", "heldout.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (alone["dpo"] / name).read_bytes()


def test_a_reference_cut_short_is_gone_on_with(
    alone: dict[str, Path], pairs: Artifact, start: Path, tmp_path: Path
) -> None:
    whole = (alone["dpo"] / "reference.bin").read_bytes()
    (tmp_path / ".reference.bin.partial").write_bytes(whole[: len(whole) // 2 + 1])
    trained("dpo", pairs, start, tmp_path, "train.train_iters=1")
    assert (tmp_path / "reference.bin").read_bytes() == whole


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("train.micro_batch_size=3", "train.global_batch_size=12"), "train.micro_batch_size=3 would part a pair"),
        (("model.seq_length=8",), "make them again with seq_length=8"),
    ],
)
def test_what_does_not_fit_is_one_line(
    pairs: Artifact, start: Path, tmp_path: Path, overrides: tuple[str, ...], said: str
) -> None:
    with pytest.raises(GlideError, match=said):
        trained("dpo", pairs, start, tmp_path, *overrides)


def test_preferences_need_a_model_to_begin_with(pairs: Artifact, tmp_path: Path) -> None:
    with pytest.raises(GlideError, match="pass --from"):
        trained("orpo", pairs, None, tmp_path)


def test_plain_tokens_are_no_pairs(small_tokens: Artifact, start: Path, tmp_path: Path) -> None:
    with pytest.raises(GlideError, match="no preference pairs in"):
        trained("dpo", small_tokens, start, tmp_path)
