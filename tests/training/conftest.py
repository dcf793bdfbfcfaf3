"""A training run of seconds that the tests of this directory share."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError
from glide_nemo.training import pretrain as step
from glide_nemo.training.pretrain import plan_training, pretrain

KilledAt = Callable[[int], AbstractContextManager[None]]

# 11 steps with a checkpoint every 4 and an evaluation every 3, so that kills fall between both and on the last step,
# which is a multiple of neither.
TINY = (
    "model.num_layers=2", "model.hidden_size=128", "model.ffn_hidden_size=256", "model.vocab_size=1000",
    "train.train_iters=11", "train.global_batch_size=4", "train.micro_batch_size=4",
    "validation.eval_interval=3", "validation.eval_iters=1", "checkpoint.save_interval=4",
)  # fmt: skip


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    return TINY


@pytest.fixture(scope="session")
def uninterrupted(small_tokens: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return pretrain(plan_training("glide_nano_phaseA", TINY), small_tokens, tmp_path_factory.mktemp("whole") / "out")


@pytest.fixture(scope="session")
def other_shape(small_tokens: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    overrides = (*TINY, "train.train_iters=1", "model.ffn_hidden_size=128")
    out: Path = tmp_path_factory.mktemp("other") / "out"
    return pretrain(plan_training("glide_nano_phaseA", overrides), small_tokens, out)


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> KilledAt:
    """`with killed_at(step):` the process that trains in it is killed after that step, which is one line of error."""
    run = step.run_with_megatron

    @contextmanager
    def within(number: int) -> Iterator[None]:
        def run_and_kill(*args: Any, on_event: Any, **kwargs: Any) -> Any:
            def watch(event: dict[str, Any]) -> None:
                on_event(event)
                if event.get("step") == number and "loss" in event:
                    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

            return run(*args, on_event=watch, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(step, "run_with_megatron", run_and_kill)
            with pytest.raises(GlideError, match="was killed"):
                yield

    return within
