"""The quality classifier: learns what its samples say, the same each time, and its threshold is hard."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy
import pandas as pd
import pytest
from nemo_curator.stages.text.filters.fasttext import FastTextQualityFilter
from nemo_curator.tasks import DocumentBatch
from small_corpus import write_corpus

from curator_pipelines.ledger import FUNNEL, REJECTIONS
from curator_pipelines.models import normalize
from curator_pipelines.models.quality import (
    HIGH,
    LOW,
    MODEL,
    QualityConfig,
    QualityModel,
    _fit,
    auc,
    precision_and_recall,
    train_quality,
)
from curator_pipelines.models.samples import sources
from curator_pipelines.stages.classify_quality import ClassifyQuality
from glide_nemo import corpus as corpora
from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError

SMALL = QualityConfig(dim=8, buckets=2_000, epochs=20)
OFFERS = [
    "buy",
    "cheap",
    "click",
    "here",
    "now",
    "best",
    "offer",
    "casino",
    "bonus",
    "free",
    "winner",
    "deal",
    "online",
]


def spam(count: int, seed: int = 1) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(OFFERS, k=60)) for _ in range(count)]


@pytest.fixture(scope="module")
def samples(small_corpus: Artifact, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A corpus, and JSONL of what should not be in one."""
    path = tmp_path_factory.mktemp("samples") / "spam.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in spam(120)))
    return small_corpus.path, path


@pytest.fixture(scope="module")
def trained(samples: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    good, bad = samples
    return train_quality(SMALL, [good], [bad], tmp_path_factory.mktemp("classifier") / "out")


def classified(texts: list[str], model: Path, min_quality: float) -> DocumentBatch:
    sizes = pd.Series([len(text.encode()) for text in texts], dtype="int64")
    frame = pd.DataFrame({"id": [str(i) for i in range(len(texts))], "url": "u", "text": texts, "bytes": sizes})
    stage = ClassifyQuality(str(model), min_quality)
    stage.setup()
    return stage.process(DocumentBatch("one", frame))


def test_what_is_like_the_good_samples_stays_and_what_is_like_the_bad_leaves(
    trained: Artifact, small_corpus: Artifact
) -> None:
    good = [text for _, text in corpora.documents(small_corpus, "heldout")]
    bad = spam(10, seed=2)
    batch = classified(good + bad, trained.path, 0.5)
    assert batch.to_pandas()["text"].tolist() == good
    assert batch.to_pandas()["quality"].between(0.5, 1).all()
    lost = batch._metadata[REJECTIONS]
    assert [row.bytes for row in lost] == [len(text) for text in bad]
    assert all((row.stage, row.reason) == ("quality_classifier", "low_quality") and row.score < 0.5 for row in lost)
    assert trained.metrics["auc"] == 1
    half = next(row for row in trained.metrics["thresholds"] if row["threshold"] == 0.5)
    assert half["precision"] == half["recall"] == 1


def test_samples_that_do_not_differ_are_told_apart_by_chance_alone(tmp_path: Path) -> None:
    """Metrics that come out well here would have been measured on what was learned."""
    for name, seed in (("a", 1), ("b", 2)):
        (tmp_path / f"{name}.txt").write_text("\n".join(spam(400, seed)))
    config = QualityConfig(dim=8, buckets=2_000, heldout_share=0.5)
    random_ = train_quality(config, [tmp_path / "a.txt"], [tmp_path / "b.txt"], tmp_path / "out")
    assert 0.4 < random_.metrics["auc"] < 0.6


def test_the_threshold_is_hard(trained: Artifact, small_corpus: Artifact) -> None:
    texts = [f"{text[:200]} {' '.join(OFFERS * 2)}" for _, text in corpora.documents(small_corpus, "heldout")]
    scores = classified(texts, trained.path, 0.0).to_pandas()["quality"]
    assert len(scores) == len(texts)
    border = sorted(scores)[len(scores) // 2]
    kept = classified(texts, trained.path, border).to_pandas()
    assert len(kept) == (scores >= border).sum() < len(texts)
    assert kept["quality"].min() == border


def test_scores_are_those_of_curators_own_filter_over_the_same_form_of_text(
    trained: Artifact, small_corpus: Artifact
) -> None:
    theirs = FastTextQualityFilter(str(trained.path / MODEL), label=HIGH)
    theirs.load_model()
    texts = [text for _, text in corpora.documents(small_corpus, "heldout")] + spam(5, seed=3)
    for text, score in zip(texts, QualityModel(trained.path).scores(texts), strict=True):
        assert theirs.score_document(normalize.words(text)) == pytest.approx(score, abs=2e-4)


def test_equal_samples_give_equal_bytes_whatever_the_hash_seed(
    trained: Artifact, samples: tuple[Path, Path], tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; from curator_pipelines.models.quality import *\n"
        "config = QualityConfig(dim=8, buckets=2_000, epochs=20)\n"
        "train_quality(config, [Path(sys.argv[1])], [Path(sys.argv[2])], sys.argv[3])"
    )
    subprocess.run(
        [sys.executable, "-c", code, *map(str, samples), str(tmp_path / "again")],
        env=os.environ | {"PYTHONHASHSEED": "5"}, check=True, capture_output=True,
    )  # fmt: skip
    assert (tmp_path / "again" / MODEL).read_bytes() == (trained.path / MODEL).read_bytes()


def test_what_lay_in_memory_before_does_not_change_what_is_learned(tmp_path: Path) -> None:
    """fastText trains on memory that it never wrote to."""
    lines = [
        (label, text)
        for pair in zip(spam(50), spam(50, 2), strict=True)
        for label, text in zip((HIGH, LOW), pair, strict=True)
    ]
    models = set()
    for number in range(4):
        rubbish = [numpy.full(8_000 + 100 * number, 1e30, dtype="float32") for _ in range(40)]
        del rubbish
        _fit(SMALL, lines, tmp_path / MODEL)
        models.add((tmp_path / MODEL).read_bytes())
    assert len(models) == 1


def test_it_is_trained_again_only_where_a_file_of_samples_has_changed(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.txt", tmp_path / "bad.txt"
    good.write_text("\n".join(f"{chr(97 + i)} and nothing else" for i in range(20)))
    bad.write_text("\n".join(spam(20)))
    first = train_quality(SMALL, [good], [bad], tmp_path / "out")
    assert train_quality(SMALL, [good], [bad], tmp_path / "out").record["created"] == first.record["created"]
    bad.write_text("\n".join(spam(20, seed=4)))
    with pytest.raises(GlideError, match="made from other settings or inputs"):
        train_quality(SMALL, [good], [bad], tmp_path / "out")


def test_a_text_on_both_sides_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("\n".join(spam(15, 1) + spam(5, 9)))
    (tmp_path / "bad.txt").write_text("\n".join(spam(15, 2) + spam(5, 9)))
    artifact = train_quality(SMALL, [tmp_path / "good.txt"], [tmp_path / "bad.txt"], tmp_path / "out")
    assert artifact.metrics["samples"] == {"each": 15, "heldout_each": 2, "on_both_sides": 5}


def test_every_form_of_samples_reads_as_the_same_texts(tmp_path: Path) -> None:
    texts = ["Eine Übung.", "A second one."]
    pd.DataFrame({"text": texts}).to_parquet(tmp_path / "a.parquet")
    jsonl = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (tmp_path / "b.jsonl").write_text(jsonl)
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(jsonl.encode()))
    (tmp_path / "d.txt").write_text("\n".join(texts) + "\n\n", encoding="utf-8")
    write_corpus(tmp_path / "e", {"train": list(enumerate_ids(texts)), "heldout": [("h", "not read")]})
    for source in sources(sorted(tmp_path.iterdir())):
        assert [text.strip() for text in source.texts()] == texts, source.path


def enumerate_ids(texts: list[str]) -> list[tuple[str, str]]:
    return [(str(number), text) for number, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b'{"text": "x"}\n{"txt": 1}\n', "after line 1: each line has to be JSON"),
        ("a.jsonl", b'{"text": 5}\n', "after line 0: each line has to be JSON"),
        ("a.jsonl", b"[1]\n", "each line has to be JSON"),
        ("a.txt", b"\xff\xfe\n", "each line has to be UTF-8"),
        ("a.txt.gz", gzip.compress(b"one line\n" * 99, mtime=0)[:-9], "no whole gzip file"),
        ("a.jsonl.gz", b"plain", "no whole gzip file"),
        ("a.parquet", b"PAR1", "no parquet file"),
        ("a.csv", b"text\n", "unknown form of samples"),
        ("a.txt", b"too few\n", "too few samples, 1 positive and 1 negative differ"),
    ],
)
def test_samples_that_cannot_be_read_are_named(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "good.txt").write_text("a good line\n")
    with pytest.raises(GlideError, match=said):
        train_quality(SMALL, [tmp_path / "good.txt"], [tmp_path / name], tmp_path / "out")


def test_directories_and_settings_that_cannot_be_are_named(tmp_path: Path) -> None:
    pd.DataFrame({"body": ["x"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(GlideError, match="no column 'text'"):
        list(sources([tmp_path / "a.parquet"])[0].texts())
    with pytest.raises(GlideError, match="no samples at"):
        sources([tmp_path / "absent"])
    with pytest.raises(GlideError, match="glide quality-classifier"):
        QualityModel(tmp_path)
    (tmp_path / MODEL).write_bytes(b"no model")
    with pytest.raises(GlideError, match="no fastText model"):
        QualityModel(tmp_path)
    with pytest.raises(GlideError, match="min_quality=2"):
        ClassifyQuality("m", 2)
    with pytest.raises(GlideError, match="heldout_share"):
        QualityConfig(heldout_share=1).check()
    with pytest.raises(GlideError, match="epochs=0"):
        QualityConfig(epochs=0).check()


def test_empty_batches_and_texts_without_a_known_word_pass(trained: Artifact) -> None:
    assert classified([], trained.path, 0.5)._metadata[FUNNEL] == [("quality_classifier", 0, 0)]
    (score,) = classified(["\n"], trained.path, 0).to_pandas()["quality"]
    assert 0 <= score <= 1


def test_no_word_of_a_sample_can_be_a_label(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("\n".join(f"__label__low {text}" for text in spam(12)))
    (tmp_path / "bad.txt").write_text("\n".join(f"{chr(97 + i)} and nothing else" for i in range(12)))
    artifact = train_quality(SMALL, [tmp_path / "good.txt"], [tmp_path / "bad.txt"], tmp_path / "out")
    assert artifact.metrics["auc"] == 1


def test_auc_precision_and_recall_are_those_of_pairs_and_counts() -> None:
    good, bad = [0.9, 0.8, 0.4], [0.8, 0.3]
    pairs = [1.0 if g > b else 0.5 if g == b else 0.0 for g in good for b in bad]
    assert auc(good, bad) == pytest.approx(sum(pairs) / len(pairs))
    assert precision_and_recall(0.8, good, bad) == (2 / 3, 2 / 3)
    assert precision_and_recall(0.95, good, bad) == (None, 0)
