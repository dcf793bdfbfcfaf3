"""A training run of seconds that the tests of this directory share."""

from __future__ import annotations

from pathlib import Path

import pytest

from glide_nemo.artifact import Artifact
from glide_nemo.training.pretrain import plan_training, pretrain

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
