"""lm-eval scores a GGUF file in F16 as it scores the Hugging Face directory that it was made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from log_likelihoods import log_likelihoods, small_config

from glide_nemo import corpus as corpora
from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError
from glide_nemo.evaluation import harness
from glide_nemo.evaluation.continuation import TASK
from glide_nemo.evaluation.evaluate import EvaluationConfig, evaluate
from glide_nemo.evaluation.subject import Subject
from glide_nemo.export.gguf import FILE

# In nats, of a whole choice: activations are rounded to F16 on the way, which moves a log-probability by about 1e-3 a
# token, and choices here have up to 30 tokens.
LARGEST_DIFFERENCE = 0.03

LAST_WORD = """
task: last_word
dataset_path: json
dataset_name: null
output_type: loglikelihood
test_split: test
num_fewshot: 0
doc_to_text: text
doc_to_target: word
target_delimiter: ""
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""


def assert_close(found: list[float], expected: list[float]) -> None:
    assert len(found) == len(expected) > 10
    largest = max(abs(one - other) for one, other in zip(found, expected, strict=True))
    assert 0 < largest < LARGEST_DIFFERENCE  # the same to the last bit would be the same runtime


def test_the_passage_task_has_the_same_scores(
    small_model: Artifact, small_f16: Artifact, small_corpus: Artifact, tmp_path: Path
) -> None:
    expected = evaluate(small_config(), small_model, small_corpus, tmp_path / "hf")
    found = evaluate(small_config(), small_model, small_corpus, tmp_path / "gguf", gguf=small_f16)
    assert found.metrics["lm_eval"] == expected.metrics["lm_eval"]
    assert set(found.record["inputs"]) == {"model", "corpus", "gguf"}
    assert_close(log_likelihoods(found.path, TASK), log_likelihoods(expected.path, TASK))


def test_the_last_word_task_has_the_same_scores(
    small_model: Artifact, small_f16: Artifact, small_corpus: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of lm-eval's other kinds: the likelihood of a word, and whether greedy decoding writes it."""
    (tmp_path / "last_word.yaml").write_text(LAST_WORD)
    monkeypatch.setattr(harness, "TASKS", tmp_path)
    rows = []
    for _, text in list(corpora.documents(small_corpus, "heldout"))[:16]:
        before, _, word = text[:150].rstrip().rpartition(" ")
        rows.append({"text": before, "word": f" {word}"})
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    results: dict[str, list[dict[str, Any]]] = {}
    for name, gguf in (("hf", None), ("gguf", small_f16.path / FILE)):
        (tmp_path / name).mkdir()
        subject = Subject(small_model, small_corpus, small_config(), tmp_path / name, gguf=gguf)
        results[name] = harness.run_task(subject, "last_word", tmp_path / "items.jsonl", 4)
    assert results["gguf"] == results["hf"] and results["hf"][0]["metric"] == "acc"
    assert_close(*(log_likelihoods(tmp_path / name, "last_word") for name in ("gguf", "hf")))


def test_what_llama_cpp_does_not_score_is_said(
    small_model: Artifact, small_f16: Artifact, small_corpus: Artifact, tmp_path: Path
) -> None:
    with pytest.raises(GlideError, match=r"llama.cpp scores no bits_per_byte"):
        config = EvaluationConfig(evaluators=["bits_per_byte"])
        evaluate(config, small_model, small_corpus, tmp_path / "out", gguf=small_f16)
