"""Loss by position is the model's own, averaged where it says, over stretches of one length."""

from __future__ import annotations

import math

import pytest
import torch

from glide_nemo.errors import GlideError
from glide_nemo.evaluation.loss_by_position import loss_by_position
from glide_nemo.evaluation.subject import Subject


def test_buckets_hold_the_losses_of_their_positions(subject: Subject) -> None:
    config = subject.config.loss_by_position
    config.tokens, config.buckets, config.max_stretches = 48, 3, 5
    found = loss_by_position(subject)["loss_by_position"]
    assert [(bucket["start"], bucket["end"]) for bucket in found["buckets"]] == [(0, 16), (16, 32), (32, 48)]
    assert found["stretches"] == 5 and found["context"] == 64
    documents = subject.encode([document.text for document in subject.heldout(config.max_bytes)])
    ids = [ids[start : start + 48] for ids in documents for start in range(0, len(ids) - 47, 48)][:5]
    expected = []
    for stretch in ids:
        labels = torch.tensor([[subject.first_token, *stretch]])
        with torch.inference_mode():
            chances = subject.network(input_ids=labels[:, :-1]).logits.log_softmax(-1)
        expected.append(-chances[0, torch.arange(48), labels[0, 1:]].double())
    means = torch.stack(expected).view(5, 3, 16).mean(2)
    assert [bucket["nats"] for bucket in found["buckets"]] == pytest.approx(means.mean(0).tolist(), rel=1e-5)
    errors = (means.std(0) / math.sqrt(5)).tolist()
    assert [bucket["stderr"] for bucket in found["buckets"]] == pytest.approx(errors, rel=1e-4)


def test_text_too_short_for_one_stretch_is_said(subject: Subject) -> None:
    subject.config.loss_by_position.tokens = 100_000
    said = {"loss_by_position": "no held-out document has 100000 tokens"}
    assert loss_by_position(subject) == {"skipped": said}


def test_more_buckets_than_positions_are_refused(subject: Subject) -> None:
    subject.config.loss_by_position.buckets = 1_000
    with pytest.raises(GlideError, match="1000 buckets for 64 positions"):
        loss_by_position(subject)
