"""Killed anywhere, training goes on and ends as the uninterrupted run: same curve, same bytes, nothing left running."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from glide_nemo import cli
from glide_nemo.artifact import Artifact, load
from glide_nemo.errors import GlideError
from glide_nemo.training import pretrain as step
from glide_nemo.training.pretrain import plan_training, pretrain
from glide_nemo.training.worker import Event


def training_process() -> int:
    (child,) = multiprocessing.active_children()
    return child.pid


def signal_when(
    condition: Callable[[Event], bool],
    target: Callable[[], int],
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    runner: str = "run_with_megatron",
) -> None:
    """A signal to a process once training reports an event."""
    run = getattr(step, runner)

    def run_and_signal(*args: Any, on_event: Callable[[Event], None], **kwargs: Any) -> Any:
        def watch(event: Event) -> None:
            on_event(event)
            if condition(event):
                os.kill(target(), number)

        return run(*args, on_event=watch, **kwargs)

    monkeypatch.setattr(step, runner, run_and_signal)


def assert_equal_runs(one: Artifact, other: Artifact) -> None:
    assert (one.path / "loss.jsonl").read_bytes() == (other.path / "loss.jsonl").read_bytes()
    digests = [{file["path"]: file["sha256"] for file in run.record["files"]} for run in (one, other)]
    stable = [{path: sha for path, sha in files.items() if not path.startswith("logs/")} for files in digests]
    assert stable[0] == stable[1]
    assert one.sha256 == other.sha256
    assert one.metrics["heldout_loss"] == other.metrics["heldout_loss"]


def test_equal_runs_in_two_places_have_the_same_digest(
    uninterrupted: Artifact, small_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    again = pretrain(plan_training("glide_nano_phaseA", tiny), small_tokens, tmp_path / "deeper" / "down" / "out")
    assert_equal_runs(uninterrupted, again)


@pytest.mark.parametrize(
    "killed_at",
    [
        pytest.param(lambda event: event.get("step") == 2, id="before the first checkpoint"),
        pytest.param(lambda event: event.get("step") == 7, id="between two checkpoints"),
        pytest.param(lambda event: event.get("step") == 11 and "heldout_loss" in event, id="in the last evaluation"),
    ],
)
def test_a_killed_training_process_is_replaced_and_ends_the_same(
    killed_at: Callable[[Event], bool], uninterrupted: Artifact, small_tokens: Artifact, tiny: tuple[str, ...],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    plan = plan_training("glide_nano_phaseA", tiny)
    with monkeypatch.context() as patch:
        signal_when(killed_at, training_process, signal.SIGKILL, patch)
        with pytest.raises(GlideError, match="was killed"):
            pretrain(plan, small_tokens, tmp_path / "out")
    assert not multiprocessing.active_children()
    assert_equal_runs(uninterrupted, pretrain(plan, small_tokens, tmp_path / "out"))


def test_a_checkpoint_cut_short_by_a_kill_is_not_used(
    uninterrupted: Artifact, small_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    plan = plan_training("glide_nano_phaseA", tiny)
    with monkeypatch.context() as patch:
        signal_when(lambda event: event.get("step") == 10, training_process, signal.SIGKILL, patch)
        with pytest.raises(GlideError, match="was killed"):
            pretrain(plan, small_tokens, tmp_path / "out")
    checkpoints = tmp_path / "out" / "checkpoints"
    newest = checkpoints / "iter_0000008"
    (newest / "integrity.json").unlink()  # written last, so it is what a kill takes first
    os.truncate(newest / "__0_0.distcp", 1_000)
    os.truncate(checkpoints / "latest_train_state.pt", 10)  # Megatron-Bridge copies it in place
    assert_equal_runs(uninterrupted, pretrain(plan, small_tokens, tmp_path / "out"))


def test_a_second_phase_continues_from_the_first_and_has_one_digest(
    uninterrupted: Artifact, small_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    plan = plan_training("glide_nano_phaseB", (*tiny, "train.train_iters=3", "scheduler.lr_warmup_iters=1"))
    runs = [pretrain(plan, small_tokens, tmp_path / out, init_from=uninterrupted) for out in ("b", "deeper/b")]
    assert_equal_runs(*runs)
    first, continued = (
        json.loads((run.path / "loss.jsonl").read_text().splitlines()[0])["loss"] for run in (uninterrupted, runs[0])
    )
    assert continued < first - 0.3, "it began from random weights"


def command_line(tokens: Artifact, out: Path, tiny: tuple[str, ...]) -> list[str]:
    return ["pretrain", "--recipe", "glide_nano_phaseA", "--tokens", str(tokens.path), "--out", str(out), *tiny]


def test_sigterm_saves_a_checkpoint_first(
    uninterrupted: Artifact, small_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert threading.current_thread() is threading.main_thread(), "a signal would end the tests"
    command = command_line(small_tokens, tmp_path / "out", tiny)
    with monkeypatch.context() as patch:
        signal_when(lambda event: event.get("step") == 1, os.getpid, signal.SIGTERM, patch)
        assert cli.main(command) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted: run the same command again, it goes on"
    saved = int((tmp_path / "out" / "checkpoints" / "latest_checkpointed_iteration.txt").read_text())
    assert 1 <= saved <= 3, "no checkpoint before the regular one at step 4"
    assert not (tmp_path / "out" / "artifact.json").exists()
    assert cli.main(command) == 0
    assert_equal_runs(uninterrupted, load(tmp_path / "out"))


def test_sigterm_to_a_run_of_two_processes_saves_a_checkpoint_of_both(
    uninterrupted: Artifact, small_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    start = ["--from", str(uninterrupted.path)]  # a layout would draw other random weights
    split = [*tiny, "model.tensor_model_parallel_size=2"]
    command = [*command_line(small_tokens, tmp_path / "out", tuple(split)), *start]
    with monkeypatch.context() as patch:
        signal_when(lambda event: event.get("step") == 1, os.getpid, signal.SIGTERM, patch, "run_processes")
        assert cli.main(command) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted: run the same command again, it goes on"
    assert not multiprocessing.active_children()
    assert 1 <= int((tmp_path / "out" / "checkpoints" / "latest_checkpointed_iteration.txt").read_text()) <= 3
    assert cli.main(command) == 0
    assert cli.main([*command_line(small_tokens, tmp_path / "alone", tiny), *start]) == 0
    curves = [
        [json.loads(line) for line in (tmp_path / run / "loss.jsonl").read_text().splitlines()]
        for run in ("out", "alone")
    ]
    assert [line["step"] for line in curves[0]] == [line["step"] for line in curves[1]]
    assert [line["loss"] for line in curves[0]] == pytest.approx([line["loss"] for line in curves[1]], rel=1e-5)


def test_sigkill_of_the_command_leaves_no_process_and_loses_nothing(
    uninterrupted: Artifact, small_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = command_line(small_tokens, out, tiny)
    killed = subprocess.Popen([sys.executable, "-m", "glide_nemo", *command], stderr=subprocess.PIPE, text=True)
    ends = time.monotonic() + 240
    while not ((out / "loss.jsonl").exists() and '"step": 6,' in (out / "loss.jsonl").read_text()):
        assert killed.poll() is None, killed.stderr.read()
        assert time.monotonic() < ends
        time.sleep(0.02)
    family = psutil.Process(killed.pid).children(recursive=True)
    assert family, "nothing to leave behind"
    killed.kill()
    killed.communicate(timeout=60)
    _, left = psutil.wait_procs(family, timeout=20)
    assert left == []
    assert cli.main(command) == 0
    assert_equal_runs(uninterrupted, load(out))
