"""Continued pretraining on a domain: what is replayed is what the checkpoint learnt, and it is forgotten less."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_corpus import write_corpus

from glide_nemo.artifact import Artifact, load
from glide_nemo.data.pack import PackConfig, pack
from glide_nemo.errors import GlideError
from glide_nemo.training.pretrain import plan_training, pretrain

SHAPE = ("model.num_layers=1", "model.hidden_size=128", "model.ffn_hidden_size=256", "model.vocab_size=1000")
BATCH = ("model.seq_length=64", "train.global_batch_size=8", "train.micro_batch_size=8", "validation.eval_iters=4")


@pytest.fixture(scope="module")
def domain_tokens(small_tokenizer: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Documents that no page of Python's is like: sums."""
    folder = tmp_path_factory.mktemp("domain")
    texts = [" ".join(f"{n} + {k} = {n + k}" for k in range(60)) for n in range(60)]
    rows = [(f"sum-{number}", text) for number, text in enumerate(texts)]
    corpus = write_corpus(folder / "corpus", {"train": rows[6:], "heldout": rows[:6]})
    return pack(PackConfig(), corpus, small_tokenizer, folder / "tokens")


@pytest.fixture(scope="module")
def general(small_tokens: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    plan = plan_training("glide_nano_phaseB", [*SHAPE, *BATCH, "train.train_iters=80"])
    return pretrain(plan, small_tokens, tmp_path_factory.mktemp("general") / "out")


def heldout_loss(tokens: Artifact, start: Artifact, out: Path) -> float:
    """Of a checkpoint on other tokens: a step at no learning rate, and its evaluation."""
    still = ["train.train_iters=1", "optimizer.lr=0", "optimizer.min_lr=0", "replay.share=0", "ema.interval=0"]
    return pretrain(plan_training("glide_nano_domain", [*SHAPE, *BATCH, *still]), tokens, out, init_from=start).metrics[
        "heldout_loss"
    ]


def test_replay_keeps_what_was_learnt_and_the_record_says_what_was_replayed(
    general: Artifact, domain_tokens: Artifact, small_tokens: Artifact, tmp_path: Path
) -> None:
    forgotten, learnt = {}, {}
    for share in (0.0, 0.25):
        plan = plan_training("glide_nano_domain", [*SHAPE, *BATCH, "train.train_iters=40", f"replay.share={share}"])
        trained = pretrain(plan, domain_tokens, tmp_path / f"replay_{share}", init_from=general)
        if share:
            assert trained.config["blend"] == {"tokens": 0.75, "tokens_2": 0.25}
            assert trained.input("tokens_2").sha256 == small_tokens.sha256
        forgotten[share] = heldout_loss(small_tokens, trained, tmp_path / f"old_{share}")
        learnt[share] = heldout_loss(domain_tokens, trained, tmp_path / f"new_{share}")
    before = heldout_loss(domain_tokens, general, tmp_path / "before")
    assert learnt[0.25] < before - 1.0  # nats a token
    assert forgotten[0.25] < forgotten[0.0] - 0.1
    assert load(general.path).metrics["objective"] == "next_token"


def test_without_a_checkpoint_there_is_nothing_to_replay(domain_tokens: Artifact, tmp_path: Path) -> None:
    with pytest.raises(GlideError, match="pass one with --from"):
        pretrain(plan_training("glide_nano_domain", [*SHAPE, *BATCH]), domain_tokens, tmp_path / "out")
