"""Every layout of processes trains as one process does: the same losses from the same weights on the same batches."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from layouts import LAYOUTS, SHAPE, TENSOR, trained

from glide_nemo.artifact import Artifact

STEPS = 20
# Measured on 2 x86-64 cores: at most 1.7e-7 and 1.2e-6 in all of them; the room is for the kernels of other chips.
LOSS_BOUND, GRADIENT_BOUND = 5e-6, 2e-5
CONTINUED_GRADIENT_BOUND = 5e-5  # at most 1.3e-5 where the layout changes halfway
WARM_UP = (*SHAPE, "train.train_iters=1", "train.global_batch_size=4", "checkpoint.save_interval=1")
TRAINING = (
    *SHAPE, f"train.train_iters={STEPS}", "train.global_batch_size=8", "scheduler.lr_warmup_iters=2",
    "checkpoint.save_interval=10",
)  # fmt: skip


@pytest.fixture(scope="module")
def start(small_tokens: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint that all begin from: layouts would draw other random weights."""
    out = tmp_path_factory.mktemp("start")
    trained("glide_nano_phaseA", 1, WARM_UP, small_tokens, out)
    return out / "checkpoints"


@pytest.fixture(scope="module")
def alone(small_tokens: Artifact, start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a single process, halfway and to its end."""
    out = tmp_path_factory.mktemp("alone")
    lines = trained("glide_nano_phaseB", 1, TRAINING, small_tokens, out, start)
    assert lines[-1]["loss"] < lines[0]["loss"] - 0.5, "it has not learnt anything"
    return out


def steps(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "loss.jsonl").read_text().splitlines()]


def largest_difference(key: str, ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> float:
    """Of a figure of each step, relative."""
    assert [line["step"] for line in ours] == [line["step"] for line in theirs]
    largest = max(abs(a[key] - b[key]) / abs(b[key]) for a, b in zip(ours, theirs, strict=True))
    print(f"{key} differs by {largest:.1e}")  # for `pytest -s`, and where it fails
    return largest


# Four processes on two cores take long: `make test-slow` runs them.
LAYOUTS_TO_TEST = [
    pytest.param(name, marks=pytest.mark.slow if processes > 2 else ())
    for name, (processes, _) in LAYOUTS.items()
    if name != "alone"
]


@pytest.mark.parametrize("layout", LAYOUTS_TO_TEST)
def test_a_layout_trains_as_one_process_does(
    layout: str, small_tokens: Artifact, start: Path, alone: Path, tmp_path: Path
) -> None:
    processes, overrides = LAYOUTS[layout]
    lines = trained("glide_nano_phaseB", processes, (*TRAINING, *overrides), small_tokens, tmp_path, start)
    assert len(lines) == STEPS
    assert largest_difference("loss", lines, steps(alone)) < LOSS_BOUND
    assert largest_difference("grad_norm", lines, steps(alone)) < GRADIENT_BOUND


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("TP2+SP", "alone"),
        ("PP2", "TP2"),
        *(
            pytest.param(before, after, marks=pytest.mark.slow)
            for before, after in (("TP2", "PP2 interleaved"), ("CP2", "DP2"), ("alone", "TP2+SP"))
        ),
    ],
)
def test_a_checkpoint_goes_on_at_another_layout(
    before: str, after: str, small_tokens: Artifact, start: Path, alone: Path, tmp_path: Path
) -> None:
    """Weights and optimizer both: the second half of a training equals that of one process from its own first."""
    for until, layout in ((STEPS // 2, before), (STEPS, after)):
        processes, overrides = LAYOUTS[layout]
        half = (
            f"train.train_iters={until}", f"scheduler.lr_decay_iters={STEPS}",
            "scheduler.override_opt_param_scheduler=true",  # it is the whole training's in both halves
        )  # fmt: skip
        trained("glide_nano_phaseB", processes, (*TRAINING, *half, *overrides), small_tokens, tmp_path, start)
    assert f"_{STEPS // 2:07d}" in "".join(path.name for path in (tmp_path / "checkpoints").glob("iter_*"))
    assert largest_difference("loss", steps(tmp_path), steps(alone)) < LOSS_BOUND
    assert largest_difference("grad_norm", steps(tmp_path), steps(alone)) < CONTINUED_GRADIENT_BOUND


def test_processes_under_a_launcher_find_each_other(
    small_tokens: Artifact, start: Path, alone: Path, tmp_path: Path
) -> None:
    """torchrun's own processes, and the process-wide form of the backend."""
    script = tmp_path / "train.py"
    script.write_text(LAUNCHED)
    (tmp_path / "out" / "logs").mkdir(parents=True)
    paths = (small_tokens.path, small_tokens.input("tokenizer").path.resolve(), tmp_path / "out", start)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script]
    overrides = (*TRAINING, f"train.train_iters={LAUNCHED_STEPS}", f"scheduler.lr_decay_iters={STEPS}", TENSOR(2))
    ended = subprocess.run([*command, *paths, *overrides], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3_000:]
    assert largest_difference("loss", steps(tmp_path / "out"), steps(alone)[:LAUNCHED_STEPS]) < LOSS_BOUND


LAUNCHED_STEPS = 5
LAUNCHED = """
import sys
from pathlib import Path
from glide_nemo.cpu import install

if __name__ == "__main__":
    install()
    from glide_nemo.training import loop

    paths, overrides = loop.Paths(*map(Path, sys.argv[1:5])), sys.argv[5:]
    loop.train("glide_nano_phaseB", overrides, paths, lambda event: None)
"""
