"""The evaluation step: what it states, that it asks no network, goes on after a kill, and fails in one line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_corpus import write_corpus

from glide_nemo.artifact import Artifact, create, load
from glide_nemo.errors import GlideError
from glide_nemo.evaluation.evaluate import EvaluationConfig, evaluate
from glide_nemo.evaluation.offline import offline


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Refuses every connection and name look-up, and lists those that were tried."""
    tried: list[object] = []

    def refuse(*args: object, **_: object) -> None:
        tried.append(args[-1])
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tried


def test_it_states_what_the_report_shows_and_asks_no_network(
    tiny_model: Artifact,
    small_corpus: Artifact,
    small_config: EvaluationConfig,
    tmp_path: Path,
    no_network: list[object],
) -> None:
    result = evaluate(small_config, tiny_model, small_corpus, tmp_path / "out")
    assert no_network == []
    assert set(result.metrics["bits_per_byte"]) == {"model", "gzip_9", "unigram"}
    assert [(row["metric"], row["n"], row["chance"]) for row in result.metrics["lm_eval"]] == [
        ("acc", 12, 0.25),
        ("acc_norm", 12, 0.25),
    ]
    assert all(0 <= row["value"] <= 1 and row["stderr"] > 0 for row in result.metrics["lm_eval"])
    assert len(result.metrics["samples"]) == 4  # two prompts, one of them held-out, each greedy and sampled
    assert "bits per byte" in result.summary
    again = evaluate(small_config, tiny_model, small_corpus, tmp_path / "again")
    assert again.metrics == result.metrics and again.sha256 == result.sha256


def test_lm_eval_scores_as_the_choices_log_likelihoods_say(
    tiny_model: Artifact, small_corpus: Artifact, small_config: EvaluationConfig, tmp_path: Path
) -> None:
    import torch

    from glide_nemo.evaluation.subject import Subject

    small_config.evaluators = ["continuation"]
    result = evaluate(small_config, tiny_model, small_corpus, tmp_path / "out")
    subject = Subject(tiny_model, small_corpus, small_config, tmp_path)

    def log_likelihood(context: str, choice: str) -> float:
        start, whole = (subject.encode([text])[0] for text in (context, context + choice))
        with torch.inference_mode():
            logs = torch.log_softmax(subject.network(torch.tensor([whole])).logits[0], dim=-1)
        return sum(float(logs[i - 1, whole[i]]) for i in range(len(start), len(whole)))

    items = [json.loads(line) for line in (result.path / "items.jsonl").read_text(encoding="utf-8").splitlines()]
    right = [
        max(range(4), key=lambda i: log_likelihood(item["context"], item["choices"][i])) == item["label"]
        for item in items
    ]
    assert result.metrics["lm_eval"][0]["value"] == pytest.approx(sum(right) / len(items))


def test_killed_after_an_evaluator_it_goes_on_with_the_next(
    tiny_model: Artifact, small_corpus: Artifact, tmp_path: Path
) -> None:
    code = (
        "import sys; from glide_nemo.artifact import load; "
        "from glide_nemo.evaluation.evaluate import EvaluationConfig, evaluate; "
        "c = EvaluationConfig(evaluators=['samples', 'bits_per_byte']); c.samples.max_new_tokens = 4; "
        "c.bits_per_byte.max_bytes = int(sys.argv[4]); evaluate(c, load(sys.argv[1]), load(sys.argv[2]), sys.argv[3])"
    )
    out = tmp_path / "out"
    arguments = [sys.executable, "-c", code, str(tiny_model.path), str(small_corpus.path), str(out), "5000"]
    child = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (out / "samples.json").exists():
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not (out / "artifact.json").exists()
    written = (out / "samples.json").stat().st_mtime_ns

    config = EvaluationConfig(evaluators=["samples", "bits_per_byte"])
    config.samples.max_new_tokens = 4
    config.bits_per_byte.max_bytes = 5_000
    went_on = evaluate(config, tiny_model, small_corpus, out)
    assert (out / "samples.json").stat().st_mtime_ns == written
    whole = evaluate(config, tiny_model, small_corpus, tmp_path / "whole")
    assert went_on.metrics == whole.metrics and went_on.sha256 == whole.sha256


def test_a_small_split_skips_the_task_and_says_why(
    tiny_model: Artifact, small_config: EvaluationConfig, tmp_path: Path
) -> None:
    corpus = write_corpus(
        tmp_path / "corpus", {"train": [("t", "some text")], "heldout": [("a", "a line of text\n" * 9)]}
    )
    result = evaluate(small_config, tiny_model, corpus, tmp_path / "out")
    assert result.metrics["lm_eval"] == []
    assert "fewer than 4 held-out documents" in result.metrics["skipped"]["heldout_continuation"]
    assert result.metrics["bits_per_byte_stderr"]["model"] == pytest.approx(0, abs=1e-12)


def test_text_that_spells_a_control_symbol_costs_bits(
    tiny_model: Artifact, small_config: EvaluationConfig, tmp_path: Path
) -> None:
    rows = {"train": [("t", "some text")], "heldout": [("a", "before <|endoftext|> and <|im_start|> after")]}
    small_config.evaluators = ["bits_per_byte"]
    result = evaluate(small_config, tiny_model, write_corpus(tmp_path / "corpus", rows), tmp_path / "out")
    assert result.metrics["heldout"]["lossy_documents"] == 0
    assert result.metrics["heldout"]["tokens"] > 12  # as one token each they would be cheap and unlike training


def test_held_out_text_is_a_draw_by_id_and_never_half_a_character(
    tiny_model: Artifact, small_config: EvaluationConfig, tmp_path: Path
) -> None:
    from glide_nemo.evaluation.subject import Subject

    rows = [(f"id{i}", "ü" * 100) for i in range(50)]
    corpora = [
        write_corpus(tmp_path / name, {"train": [("t", "x")], "heldout": order})
        for name, order in (("forwards", rows), ("backwards", rows[::-1]))
    ]
    drawn = [Subject(tiny_model, corpus, small_config, tmp_path).heldout(1_001, 151) for corpus in corpora]
    assert drawn[0] == drawn[1]
    assert [document.bytes for document in drawn[0]] == [150] * 6 + [100]
    assert not any(document.complete for document in drawn[0])
    assert {document.id for document in drawn[0]} != {f"id{i}" for i in range(7)}


def test_no_held_out_text_is_a_one_line_error(
    tiny_model: Artifact, small_config: EvaluationConfig, tmp_path: Path
) -> None:
    corpus = write_corpus(tmp_path / "corpus", {"train": [("t", "text")], "heldout": []})
    with pytest.raises(GlideError, match=r"^no heldout documents in .*: curate more text$"):
        evaluate(small_config, tiny_model, corpus, tmp_path / "out")
    blank = write_corpus(tmp_path / "blank", {"train": [("t", "text")], "heldout": [("a", "")]})
    with pytest.raises(GlideError, match=r"^no held-out text in .*: curate more text$"):
        evaluate(small_config, tiny_model, blank, tmp_path / "out")


@pytest.mark.parametrize("broken", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_model_that_is_not_whole_is_a_one_line_error(
    tiny_model: Artifact, small_corpus: Artifact, small_config: EvaluationConfig, tmp_path: Path, broken: str
) -> None:
    shutil.copytree(tiny_model.path, tmp_path / "hf")
    (tmp_path / "hf" / broken).write_bytes(b"\x00\x01 not this")
    with pytest.raises(GlideError, match=r"export it again") as error:
        evaluate(small_config, load(tmp_path / "hf"), small_corpus, tmp_path / "out")
    assert "\n" not in str(error.value)


def test_an_unknown_evaluator_is_an_error_that_names_the_nearest(
    tiny_model: Artifact, small_corpus: Artifact, tmp_path: Path
) -> None:
    with pytest.raises(GlideError, match="did you mean 'samples'"):
        evaluate(EvaluationConfig(evaluators=["sample"]), tiny_model, small_corpus, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_model_in_the_same_place_is_evaluated_again(
    tiny_model: Artifact, small_corpus: Artifact, small_config: EvaluationConfig, tmp_path: Path
) -> None:
    small_config.evaluators = ["samples"]
    evaluate(small_config, tiny_model, small_corpus, tmp_path / "out")
    shutil.copytree(tiny_model.path, tmp_path / "hf", ignore=shutil.ignore_patterns("artifact.json", ".lock"))
    shutil.copytree(tmp_path / "hf", tmp_path / "files")
    shutil.rmtree(tmp_path / "hf")
    with create(tmp_path / "hf", "model", {"size": "other"}, {}) as draft:
        shutil.copytree(tmp_path / "files", draft.path, dirs_exist_ok=True)
        (draft.path / "note").write_text("not the same")
    with pytest.raises(GlideError, match="--force"):
        evaluate(small_config, load(tmp_path / "hf"), small_corpus, tmp_path / "out")


def test_offline_holds_inside_and_is_undone_after(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with offline():
        assert constants.HF_HUB_OFFLINE and os.environ["HF_HUB_OFFLINE"] == "1"
    assert not constants.HF_HUB_OFFLINE and "HF_HUB_OFFLINE" not in os.environ
