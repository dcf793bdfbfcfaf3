"""Forty steps straight, and twenty, a SIGKILL and the rest, end with the same weights, bit for bit."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError
from glide_nemo.training import loop
from glide_nemo.training import pretrain as step
from glide_nemo.training.pretrain import plan_training, pretrain
from glide_nemo.training.worker import run_with_megatron

FORTY = ("train.train_iters=40", "checkpoint.save_interval=20", "validation.eval_interval=40")


def weight_bits(checkpoints: Path, report: loop.Report) -> dict[str, bytes]:
    """Every parameter of a checkpoint's model, as bytes."""
    from glide_nemo.model.bridge import loaded_model

    with loaded_model(checkpoints) as model:
        return {name: weight.detach().numpy().tobytes() for name, weight in model.named_parameters()}


def kill_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL to the training process once it has done a step."""
    run = step.run_with_megatron

    def run_and_kill(*args: Any, on_event: Any, **kwargs: Any) -> Any:
        def watch(event: dict[str, Any]) -> None:
            on_event(event)
            if event.get("step") == number:
                (child,) = multiprocessing.active_children()
                os.kill(child.pid, signal.SIGKILL)

        return run(*args, on_event=watch, **kwargs)

    monkeypatch.setattr(step, "run_with_megatron", run_and_kill)


def test_forty_steps_equal_twenty_a_kill_and_twenty(
    small_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_training("glide_nano_phaseA", (*tiny, *FORTY))
    straight = pretrain(plan, small_tokens, tmp_path / "straight")
    with monkeypatch.context() as patch:
        kill_at(27, patch)
        with pytest.raises(GlideError, match="was killed"):
            pretrain(plan, small_tokens, tmp_path / "killed")
    half = run_with_megatron(weight_bits, tmp_path / "killed" / "checkpoints")  # of step 20, before it is removed
    killed = pretrain(plan, small_tokens, tmp_path / "killed")
    ends = [run_with_megatron(weight_bits, run.path / "checkpoints") for run in (straight, killed)]
    assert ends[0] == ends[1]
    assert half.keys() == ends[0].keys() and all(half[name] != ends[0][name] for name in half), "it has not trained on"
    assert (straight.path / "loss.jsonl").read_bytes() == (killed.path / "loss.jsonl").read_bytes()
