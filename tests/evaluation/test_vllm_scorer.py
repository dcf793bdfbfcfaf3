"""lm-eval scores a Hugging Face directory through vLLM as it scores it through transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
from log_likelihoods import log_likelihoods, small_config

from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError
from glide_nemo.evaluation.continuation import TASK
from glide_nemo.evaluation.evaluate import EvaluationConfig, evaluate
from glide_nemo.serving.runtimes import vllm_python

# In nats, of a whole choice of up to 30 tokens: both compute in float32, in another order.
LARGEST_DIFFERENCE = 1e-3


@pytest.mark.slow
@pytest.mark.skipif(vllm_python() is None, reason="no vLLM for this machine: `make serve-env` installs one")
def test_the_passage_task_has_the_same_scores(small_model: Artifact, small_corpus: Artifact, tmp_path: Path) -> None:
    expected = evaluate(small_config(), small_model, small_corpus, tmp_path / "hf")
    found = evaluate(small_config(), small_model, small_corpus, tmp_path / "vllm", vllm=True)
    assert found.metrics["lm_eval"] == expected.metrics["lm_eval"]
    assert found.record["config"]["runtime"] == "vllm"
    pairs = zip(log_likelihoods(found.path, TASK), log_likelihoods(expected.path, TASK), strict=True)
    differences = [abs(one - other) for one, other in pairs]
    assert len(differences) > 10
    assert 0 < max(differences) < LARGEST_DIFFERENCE  # the same to the last bit would be the same runtime


def test_what_vllm_does_not_score_is_said(small_model: Artifact, small_corpus: Artifact, tmp_path: Path) -> None:
    with pytest.raises(GlideError, match="vLLM scores no bits_per_byte"):
        evaluate(EvaluationConfig(evaluators=["bits_per_byte"]), small_model, small_corpus, tmp_path / "out", vllm=True)


def test_without_vllm_it_is_one_line(
    small_model: Artifact, small_corpus: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glide_nemo.serving.runtimes.vllm_python", lambda: None)
    with pytest.raises(GlideError, match="no vLLM, neither installed for a GPU nor for CPUs: run `make serve-env`"):
        evaluate(small_config(), small_model, small_corpus, tmp_path / "out", vllm=True)
