"""Bits per byte: against direct computation, against lm-eval, and the properties that make it comparable."""

from __future__ import annotations

import math
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glide_nemo.errors import GlideError
from glide_nemo.evaluation import bits_per_byte as module
from glide_nemo.evaluation.bits_per_byte import bits_per_byte, bootstrap_error, gzip_bits, score, unigram, windows
from glide_nemo.evaluation.subject import Document, Subject


@given(length=st.integers(1, 300), context=st.integers(1, 64), share=st.floats(0.01, 1.0))
def test_windows_predict_every_token_once_with_the_context_that_is_promised(
    length: int, context: int, share: float
) -> None:
    stride = max(1, int(context * share))
    predicted = []
    for window in windows(0, length, context, stride):
        assert window.begin >= 0 and window.end - window.begin <= context
        for position in range(window.scored, window.end - window.begin):
            token = window.begin + position + 1
            predicted.append(token)
            assert position + 1 >= min(token, context - stride + 1)  # tokens that this one is predicted from
    assert predicted == list(range(1, length))


def test_a_document_within_the_context_costs_what_one_pass_of_the_model_says(subject: Subject) -> None:
    import torch

    ids = subject.encode(["Return a list of the names in the file.\n"])[0]
    assert len(ids) < subject.context
    sequence = torch.tensor([[subject.first_token, *ids]])
    with torch.inference_mode():
        logs = torch.log_softmax(subject.network(sequence).logits.double(), dim=-1)
    direct = -sum(float(logs[0, i, token]) for i, token in enumerate(ids)) / math.log(2)
    assert score(subject, [ids], subject.context, 32) == [pytest.approx(direct, rel=1e-5)]


def test_it_agrees_with_lm_eval_where_both_cut_alike(subject: Subject) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    text = subject.heldout(1_500, 1_500)[0].text
    ids = subject.encode([text])[0]
    assert len(ids) > 3 * subject.context
    harness = HFLM(
        pretrained=subject.network, tokenizer=subject.tokenizer, backend="causal", max_length=subject.context
    )
    request = Instance("loglikelihood_rolling", {}, (text,), 0)
    (theirs,) = harness.loglikelihood_rolling([request], disable_tqdm=True)
    # lm-eval moves on by a whole context, and fills up the last window with tokens that were scored before.
    (ours,) = score(subject, [ids], subject.context, subject.context)
    assert ours == pytest.approx(-theirs / math.log(2), rel=1e-5)


def test_the_result_does_not_depend_on_how_windows_are_batched(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = subject.encode([document.text for document in subject.heldout(1_200, 500)])
    together = score(subject, tokens, subject.context, 20)
    monkeypatch.setattr(module, "TOKENS_A_BATCH", 1)
    assert score(subject, tokens, subject.context, 20) == pytest.approx(together, rel=1e-6)


def test_overlapping_windows_help_a_model_that_uses_its_context(subject: Subject) -> None:
    """A copying model: it predicts the token it saw one before, so a window's first token is the only surprise."""
    import torch

    class Copier:
        device = torch.device("cpu")

        def __call__(self, input_ids: torch.Tensor, use_cache: bool) -> object:
            logits = torch.zeros(*input_ids.shape, 16)
            logits[:, 1:].scatter_(2, input_ids[:, 1:, None], 20.0)  # blind at the first position of a window
            return type("Out", (), {"logits": logits})

    subject.__dict__["network"] = Copier()
    tokens = [[3] * 200]
    assert score(subject, tokens, 16, 4)[0] < score(subject, tokens, 16, 16)[0] / 5


def test_an_empty_document_costs_nothing(subject: Subject) -> None:
    assert score(subject, [[], [5]], subject.context, 8)[0] == 0.0


def test_gzip_costs_what_the_gzip_program_writes() -> None:
    documents = [Document("a", "the quick brown fox " * 200), Document("b", "jumps over the lazy dog, für immer " * 50)]
    program = shutil.which("gzip")
    assert program, "gzip is part of every Debian"
    text = "".join(document.text for document in documents).encode()
    written = subprocess.run([program, "-9", "-n", "-c"], input=text, capture_output=True, check=True).stdout
    assert gzip_bits(documents) == pytest.approx(8 * len(written), rel=0.01)


def test_unigram_bits_are_those_of_smoothed_frequencies() -> None:
    # Counts 3, 1, 0 and one added to each: 4/7, 2/7, 1/7.
    (bits,) = unigram([[0, 0, 1], [0]], [[0, 1, 2]], vocab_size=3)
    assert bits == pytest.approx(-math.log2(4 / 7) - math.log2(2 / 7) - math.log2(1 / 7))


def test_bootstrap_error_is_that_of_a_mean_where_documents_are_equally_long() -> None:
    bits = np.random.default_rng(1).normal(200.0, 30.0, 400)
    expected = bits.std() / math.sqrt(400) / 100
    assert bootstrap_error(bits.tolist(), [100] * 400, 0) == pytest.approx(expected, rel=0.06)
    assert bootstrap_error([5.0], [3], 0) == pytest.approx(0, abs=1e-12)


def test_the_metrics_describe_the_sample_they_are_of(subject: Subject) -> None:
    metrics = bits_per_byte(subject)
    heldout, bits = metrics["heldout"], metrics["bits_per_byte"]
    assert heldout["bytes"] <= 6_000 and heldout["documents"] >= 4
    assert heldout["cut_documents"] > 0 and heldout["lossy_documents"] == 0
    assert heldout["stride"] == heldout["context"] // 2
    # A model that has learnt nothing is no better than a guess among all tokens; frequencies alone are.
    guess = math.log2(len(subject.tokenizer)) / heldout["bytes_per_token"]
    assert bits["model"] > 0.95 * guess > bits["unigram"] > bits["gzip_9"] / 2
    lines = (subject.out / "documents.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == heldout["documents"]


@pytest.mark.parametrize("stride", [-1, 65])
def test_a_stride_that_would_skip_tokens_is_an_error(subject: Subject, stride: int) -> None:
    subject.config.bits_per_byte.stride = stride
    with pytest.raises(GlideError, match=r"stride=-?\d+ skips tokens: choose 1 to 64"):
        bits_per_byte(subject)
