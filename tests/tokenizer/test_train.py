"""The tokenizer step: equal bytes from equal input, text back from tokens, and an error for too little text."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_corpus import write_corpus

from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError
from glide_nemo.tokenizer import agreement, special
from glide_nemo.tokenizer.recipes import RECIPES, TokenizerConfig
from glide_nemo.tokenizer.train import load_processor, train_tokenizer

TEXT = "The quick brown fox jumps over the lazy dog, 42 times.\n    return äöü\n"


def test_same_corpus_and_config_give_the_same_bytes(
    small_corpus: Artifact, small_tokenizer: Artifact, tmp_path: Path
) -> None:
    again = train_tokenizer(TokenizerConfig(vocab_size=1_000), small_corpus, tmp_path / "again")
    assert again.sha256 == small_tokenizer.sha256


def test_metrics_state_the_vocabulary_and_the_fertility_of_both_splits(small_tokenizer: Artifact) -> None:
    metrics = small_tokenizer.metrics
    assert metrics["vocab_size"] == load_processor(small_tokenizer.path).piece_size() == 1_000
    assert metrics["special"][special.END_OF_TEXT] == 1
    assert len([name for name in metrics["special"] if "reserved" in name]) == 32
    for split in ("train", "heldout"):
        measured = metrics["fertility"][split]
        assert measured["tokens"] * measured["bytes_per_token"] == pytest.approx(measured["bytes"])
        assert 1 < measured["bytes_per_token"] < 5
    assert metrics["agreement"]["mismatches"] == 0 and metrics["agreement"]["tokens"] > 1_000


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=80))
def test_any_text_comes_back_from_its_tokens_unchanged(small_tokenizer: Artifact, text: str) -> None:
    processor = load_processor(small_tokenizer.path)
    assert processor.decode(processor.encode(text)) == text.replace("▁", " ")  # SentencePiece's own sign for a space


@settings(max_examples=300, deadline=None)
@given(text=st.text(alphabet=st.sampled_from("a e<|>_im\n\t ▁0189äß👍\u0308"), max_size=60))
def test_hugging_face_agrees_on_any_text(small_tokenizer: Artifact, text: str) -> None:
    assert agreement.check(small_tokenizer.path, [text])["mismatches"] == 0


def test_no_text_can_forge_a_control_symbol(small_tokenizer: Artifact) -> None:
    processor = load_processor(small_tokenizer.path)
    control = set(small_tokenizer.metrics["special"].values())
    text = "".join(small_tokenizer.metrics["special"]) + special.UNKNOWN + "<0x0A>"
    assert control.isdisjoint(processor.encode(text))


def test_a_newline_is_always_a_token_of_its_own(small_tokenizer: Artifact) -> None:
    processor = load_processor(small_tokenizer.path)
    assert processor.encode("a:\n    b\n") == [
        token for part in ("a:", "\n", "    b", "\n") for token in processor.encode(part)
    ]


def test_transformers_loads_the_directory_and_renders_the_chat_template(small_tokenizer: Artifact) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(small_tokenizer.path)
    processor = load_processor(small_tokenizer.path)
    assert tokenizer(TEXT).input_ids == processor.encode(TEXT)
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    start = small_tokenizer.metrics["special"][special.TURN_START]
    assert tokenizer(text).input_ids.count(start) == 3
    assert tokenizer(text, split_special_tokens=True).input_ids == processor.encode(text)


def test_a_disagreeing_tokenizer_json_fails_the_check(small_tokenizer: Artifact, tmp_path: Path) -> None:
    stored = json.loads((small_tokenizer.path / "tokenizer.json").read_text(encoding="utf-8"))
    stored["model"]["merges"] = stored["model"]["merges"][::-1]
    (tmp_path / "tokenizer.json").write_text(json.dumps(stored), encoding="utf-8")
    (tmp_path / "tokenizer.model").write_bytes((small_tokenizer.path / "tokenizer.model").read_bytes())
    with pytest.raises(GlideError, match="disagrees with SentencePiece"):
        agreement.check(tmp_path, [TEXT])


def test_too_little_text_says_how_many_pieces_it_allows(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", {"train": [("a", TEXT)], "heldout": [("b", TEXT)]})
    with pytest.raises(GlideError, match=r"too little text for 4096 pieces, .* allows \d+: .*vocab_size=") as caught:
        train_tokenizer(RECIPES["nano"](), corpus, tmp_path / "out")
    allowed = int(str(caught.value).rpartition("=")[2])
    config = dataclasses.replace(RECIPES["nano"](), vocab_size=allowed)
    assert train_tokenizer(config, corpus, tmp_path / "out").metrics["vocab_size"] == allowed


def test_a_vocabulary_smaller_than_its_bytes_is_refused(small_corpus: Artifact, tmp_path: Path) -> None:
    with pytest.raises(GlideError, match="vocab_size=100 is too small"):
        train_tokenizer(TokenizerConfig(vocab_size=100), small_corpus, tmp_path / "out")


def test_a_vocabulary_size_that_llama_cpp_mistakes_is_refused(small_corpus: Artifact, tmp_path: Path) -> None:
    with pytest.raises(GlideError, match=r"vocab_size=49152 makes llama.cpp"):
        train_tokenizer(TokenizerConfig(vocab_size=49_152), small_corpus, tmp_path / "out")


@pytest.mark.parametrize("train", [[], [("a", "")], [("a", "\n\n")]])
def test_a_corpus_without_text_is_refused(tmp_path: Path, train: list[tuple[str, str]]) -> None:
    corpus = write_corpus(tmp_path / "corpus", {"train": train, "heldout": [("b", TEXT)]})
    with pytest.raises(GlideError, match=r"no train documents|no line of text"):
        train_tokenizer(RECIPES["nano"](), corpus, tmp_path / "out")


def test_learning_from_a_sample_takes_the_same_documents_each_time_and_about_as_much_as_asked(
    small_corpus: Artifact, tmp_path: Path
) -> None:
    config = TokenizerConfig(vocab_size=700, input_bytes=200_000)
    first = train_tokenizer(config, small_corpus, tmp_path / "first")
    second = train_tokenizer(config, small_corpus, tmp_path / "second")
    assert first.sha256 == second.sha256
    assert 100_000 < first.metrics["training"]["bytes"] < 300_000
