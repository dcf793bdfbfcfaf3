"""Processes with Megatron in them: where there is a GPU, they must be able to use it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from glide_nemo.artifact import Artifact, load
from glide_nemo.planning.machine import Machine
from glide_nemo.training import worker


def cannot_start_cuda(report: Any) -> tuple[bool, bool]:
    """Whether torch takes this process for a fork of one that asked for CUDA, and whether Megatron is imported."""
    import torch

    return torch.cuda._is_in_bad_fork(), "megatron.bridge.training.pretrain" in sys.modules


@pytest.mark.parametrize("gpus", [(), (("NVIDIA H100", 80.0),)], ids=["no GPU", "a GPU"])
def test_a_worker_is_forked_only_where_there_is_no_gpu(
    gpus: tuple[tuple[str, float], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch refuses CUDA to a fork of a process that has asked for it, and importing Megatron asks."""
    monkeypatch.setattr(worker, "this_machine", lambda: Machine(gpus=gpus, cores=2, memory_gb=8.0))
    forked, imported = worker.run_with_megatron(cannot_start_cuda)
    assert imported
    assert forked is not bool(gpus)


def test_gpu_libraries_where_there_is_no_gpu_are_left_alone(
    small_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    """As in a container on a login node: these packages say what Transformer Engine says without a GPU."""
    for name in ("transformer_engine", "apex", "amp_C", "fused_weight_gradient_mlp_cuda"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('needs CUDA')\n", encoding="utf-8")
    command = ["pretrain", "--recipe", "glide_nano_phaseA", "--tokens", small_tokens.path, "--out", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-m", "glide_nemo", *map(str, command), *tiny, "train.train_iters=2"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert load(tmp_path / "out").metrics["train_iters"] == 2
