"""Perplexity: KenLM's numbers on a model computed by hand, a proper distribution learned, CCNet's buckets by it."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path

import kenlm
import pandas as pd
import pytest
import sentencepiece
from growth import assert_linear
from nemo_curator.tasks import DocumentBatch
from small_corpus import write_corpus

from curator_pipelines.ledger import COUNTS, FUNNEL, REJECTIONS
from curator_pipelines.models import normalize
from curator_pipelines.models.perplexity import (
    NGRAMS,
    PIECES,
    THRESHOLDS,
    NgramConfig,
    PerplexityModel,
    encode,
    learn_ngrams,
    load_ngrams,
    quantile,
    train_ngrams,
)
from curator_pipelines.stages.score_perplexity import ScorePerplexity, bucket
from glide_nemo import corpus as corpora
from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError

SMALL = NgramConfig(order=3, vocab_size=300, input_bytes=120_000)
BY_HAND = """\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-2.0\t<unk>
-99\t<s>\t-0.5
-1.0\t</s>
-0.7\ta\t-0.3
-0.4\tb\t-0.2

\\2-grams:
-0.1\t<s> a
-0.2\ta b
-0.3\tb </s>

\\end\\
"""


@pytest.fixture(scope="module")
def trained(small_corpus: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return train_ngrams(SMALL, small_corpus, tmp_path_factory.mktemp("ngram") / "out")


def batch_of(texts: list[str]) -> DocumentBatch:
    sizes = pd.Series([len(text.encode()) for text in texts], dtype="int64")
    frame = pd.DataFrame({"id": [str(i) for i in range(len(texts))], "url": "u", "text": texts, "bytes": sizes})
    return DocumentBatch("one", frame)


def scored(texts: list[str], model: Path, *keep: str) -> DocumentBatch:
    stage = ScorePerplexity(str(model), keep or ("head", "middle", "tail"))
    stage.setup()
    return stage.process(batch_of(texts))


def test_a_model_written_by_hand_gives_the_sums_of_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "hand.arpa"
    path.write_text(BY_HAND)
    model = load_ngrams(path)
    assert model.score("a b") == pytest.approx(-0.1 - 0.2 - 0.3)
    assert model.score("b a") == pytest.approx((-0.5 - 0.4) + (-0.2 - 0.7) + (-0.3 - 1.0))  # backed off at each step
    assert model.score("c") == pytest.approx((-0.5 - 2.0) - 1.0)  # unknown


def test_the_perplexity_of_a_document_is_kenlms_over_all_its_lines(trained: Artifact, small_corpus: Artifact) -> None:
    text = next(text for _, text in corpora.documents(small_corpus, "heldout"))
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(trained.path / PIECES))
    ngrams = kenlm.Model(str(trained.path / NGRAMS))
    log10 = [
        log10
        for line in encode(pieces, normalize.lines(text))
        for log10, _, _ in ngrams.full_scores(" ".join(line))  # its last is the line's end
    ]
    assert PerplexityModel(trained.path).perplexity(text) == pytest.approx(10 ** (-sum(log10) / len(log10)), rel=1e-3)


def test_what_is_learned_is_a_distribution_over_the_next_token_in_any_context(tmp_path: Path) -> None:
    lines = [line.split() for line in ("a b a c", "a b b", "b a b a", "c a b", "a b c a b", "c c a")]
    path = tmp_path / "learned.arpa"
    path.write_text(learn_ngrams(lines, 3), encoding="utf-8")
    model = kenlm.Model(str(path))
    for context in ([], ["a"], ["a", "b"], ["b", "b"], ["c", "c"], ["<unk>", "a"]):
        state = kenlm.State()
        model.BeginSentenceWrite(state)
        for token in context:
            after = kenlm.State()
            model.BaseScore(state, token, after)
            state = after
        total = sum(10 ** model.BaseScore(state, token, kenlm.State()) for token in ("a", "b", "c", "</s>", "<unk>"))
        assert total == pytest.approx(1, abs=1e-5), context


def test_text_of_the_domain_is_less_perplexing_than_its_words_shuffled(
    trained: Artifact, small_corpus: Artifact
) -> None:
    model = PerplexityModel(trained.path)
    shuffle = random.Random(1).shuffle
    for _, text in corpora.documents(small_corpus, "heldout"):
        words = text.split()
        shuffle(words)
        assert model.perplexity(" ".join(text.split())) < model.perplexity(" ".join(words))


def test_a_character_never_seen_is_rare_but_not_impossible(trained: Artifact) -> None:
    assert 100 < PerplexityModel(trained.path).perplexity("漢字 漢字") < 1e6


def test_thresholds_are_thirds_of_unseen_documents(trained: Artifact, small_corpus: Artifact) -> None:
    texts = [text for _, text in corpora.documents(small_corpus, "heldout")]
    batch = scored(texts, trained.path)
    counts = batch._metadata[COUNTS]["perplexity"]
    assert sum(counts.values()) == len(texts) == trained.metrics["sampled_documents"]
    assert max(counts.values()) - min(counts.values()) <= 2
    frame = batch.to_pandas()
    assert frame.groupby("perplexity_bucket")["perplexity"].max().sort_values().index.tolist() == [
        "head", "middle", "tail"
    ]  # fmt: skip


def test_dropping_the_tail_writes_down_what_left_and_how_perplexing_it_was(
    trained: Artifact, small_corpus: Artifact
) -> None:
    good = next(text for _, text in corpora.documents(small_corpus, "train"))
    bad = "qzx vvkj wqpf zzrt " * 20
    batch = scored([good, bad], trained.path, "head", "middle")
    assert batch.to_pandas()["text"].tolist() == [good]
    (lost,) = batch._metadata[REJECTIONS]
    assert (lost.stage, lost.reason, lost.bytes) == ("perplexity", "perplexity_tail", len(bad))
    assert lost.score > trained.metrics["tail"]


def test_a_batch_without_documents_and_one_without_words_pass(trained: Artifact) -> None:
    assert scored([], trained.path)._metadata[FUNNEL] == [("perplexity", 0, 0)]
    (lost,) = scored([" \n"], trained.path, "head")._metadata[REJECTIONS]
    assert lost.reason == "perplexity_tail" and lost.score is None


def test_equal_corpora_give_equal_bytes_whatever_the_hash_seed(trained: Artifact, tmp_path: Path) -> None:
    corpus = trained.input("corpus")
    code = (
        "import sys; from glide_nemo.artifact import load; from curator_pipelines.models.perplexity import *\n"
        "train_ngrams(NgramConfig(order=3, vocab_size=300, input_bytes=120_000), load(sys.argv[1]), sys.argv[2])"
    )
    out = tmp_path / "again"
    subprocess.run(
        [sys.executable, "-c", code, str(corpus.path), str(out)], env=os.environ | {"PYTHONHASHSEED": "7"},
        check=True, capture_output=True,
    )  # fmt: skip
    for name in (PIECES, NGRAMS, THRESHOLDS):
        assert (out / name).read_bytes() == (trained.path / name).read_bytes(), name


def test_thresholds_come_from_the_sample_where_one_is_given(small_corpus: Artifact, tmp_path: Path) -> None:
    words = " ".join(text for _, text in corpora.documents(small_corpus, "heldout")).split()
    random.Random(2).shuffle(words)
    rows = [(str(i), " ".join(words[i * 50 : i * 50 + 50])) for i in range(30)]
    sample = write_corpus(tmp_path / "crawl", {"train": rows, "heldout": rows[:1]})
    config = NgramConfig(order=2, vocab_size=300, input_bytes=60_000)
    plain = train_ngrams(config, small_corpus, tmp_path / "plain")
    other = train_ngrams(config, small_corpus, tmp_path / "other", sample=sample)
    assert other.metrics["sampled_documents"] == 30
    assert other.metrics["head"] > plain.metrics["head"]
    assert json.loads((other.path / THRESHOLDS).read_text()) == {k: other.metrics[k] for k in ("head", "tail")}


def test_text_that_never_repeats_itself_is_too_little(tmp_path: Path) -> None:
    with pytest.raises(GlideError, match=r"no \d-gram of the corpus occurs twice: curate more text"):
        learn_ngrams([["a", "b", "c"], ["d", "e", "f"]], 3)


def test_settings_and_files_that_cannot_be_are_named(trained: Artifact, tmp_path: Path) -> None:
    with pytest.raises(GlideError, match="order=9"):
        NgramConfig(order=9).check()
    with pytest.raises(GlideError, match="head_quantile"):
        NgramConfig(head_quantile=0.9).check()
    with pytest.raises(GlideError, match="glide perplexity-model"):
        ScorePerplexity(str(tmp_path)).setup()
    with pytest.raises(GlideError, match="unknown bucket 'best'"):
        ScorePerplexity("m", ["best"])
    for name in (PIECES, NGRAMS):
        (tmp_path / name).write_bytes((trained.path / name).read_bytes())
    with pytest.raises(GlideError, match="no thresholds in"):
        ScorePerplexity(str(tmp_path)).setup()
    (tmp_path / NGRAMS).write_text("not a model")
    with pytest.raises(GlideError, match="no model that KenLM reads"):
        ScorePerplexity(str(tmp_path)).setup()


def test_quantiles_and_buckets_include_their_borders() -> None:
    assert [quantile([1.0, 2.0, 3.0], share) for share in (0.01, 1 / 3, 0.5, 2 / 3, 0.99)] == [1, 1, 2, 2, 3]
    assert [bucket(value, 10, 20) for value in (1, 10, 10.01, 20, 20.01, math.inf)] == [
        "head", "head", "middle", "middle", "tail", "tail"
    ]  # fmt: skip


def test_normalised_lines_are_lower_case_without_accents_and_with_zeros_for_digits() -> None:
    assert normalize.lines("  Größe: “42” –\tÜbung…\n\n \nCAFÉ\u00a0N°7") == ['große: "00" - ubung...', "cafe n°0"]
    assert normalize.words('Don’t say "__label__hi"\nx=1') == 'don \' t say " _ _ label _ _ hi " x = 0'


def test_normalising_takes_time_in_proportion_to_the_text() -> None:
    for unit in ("_", "'", "\u00a0", "é", "1", "a-", "\x00", "\u0301\u0327", "\n"):
        assert_linear(normalize.words, unit * (20_000 // len(unit)), unit * (200_000 // len(unit)), times=10)
