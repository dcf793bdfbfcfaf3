"""A corpus out of real prose: its columns, its split, its ledger and funnel, and that chance has no part in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ledgers import assert_balanced, curate_files, documents_of, reason_by_url, rejections_of, split_of
from small_warc import SmallWarc, page, topic_pages, write_pages

from curator_pipelines.schemas import LEDGER_SCHEMA, SCHEMA
from glide_nemo.artifact import Artifact

GERMAN = """\
Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt und
sollen einander im Geist der Brüderlichkeit begegnen. Jeder hat Anspruch auf die in dieser Erklärung verkündeten
Rechte und Freiheiten ohne irgendeinen Unterschied, etwa nach Rasse, Hautfarbe, Geschlecht, Sprache, Religion,
politischer oder sonstiger Überzeugung, nationaler oder sozialer Herkunft, Vermögen, Geburt oder sonstigem Stand.
Jeder hat das Recht auf Leben, Freiheit und Sicherheit der Person. Niemand darf in Sklaverei oder Leibeigenschaft
gehalten werden."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two WARC files: help topics in both, copies of some, one that differs by a word, one in German, one too short."""
    folder = tmp_path_factory.mktemp("warcs")
    pages = topic_pages(40)
    url, body = pages[0]
    plain = write_pages(folder / "first.warc", [*pages[:28], ("http://example.org/again", body)])
    longest = max(pages, key=lambda item: len(item[1]))
    with SmallWarc(folder / "second.warc.gz") as warc:
        warc.record("warcinfo", "", b"")
        for url, body in pages[20:]:
            warc.response(url, body)
        warc.response("http://example.org/near", longest[1].replace(b"</body>", b"<p>One more word.</p></body>"))
        warc.response("http://example.org/german", page("Artikel 1", GERMAN))
        warc.response("http://example.org/short", page("Short", "Too short to teach anything."))
        warc.response("http://example.org/blank", b"<html><body><img src='a.png'></body></html>")
    return [plain, folder / "second.warc.gz"]


@pytest.fixture(scope="module")
def corpus(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return curate_files(tmp_path_factory.mktemp("corpus") / "out", files, "partition_bytes=20000", "heldout_share=0.2")


def test_corpus_has_the_documented_columns_and_types(corpus: Artifact) -> None:
    import pyarrow.parquet as pq

    for split in ("train", "heldout"):
        for path in (corpus.path / split).glob("*.parquet"):
            assert pq.read_schema(path).equals(SCHEMA)
    assert all(pq.read_schema(path).equals(LEDGER_SCHEMA) for path in (corpus.path / "rejections").glob("*.parquet"))
    kept = documents_of(corpus)
    assert kept["id"].is_unique and kept["text"].str.len().min() > 200
    assert set(kept["language"]) == {"en"} and set(kept["license"]) == {"unknown"}
    assert set(kept["source"]) <= {"first.warc", "second.warc.gz"}


def test_every_page_is_kept_or_in_the_ledger(corpus: Artifact) -> None:
    assert corpus.metrics["funnel"][0]["documents"] == 29 + 20 + 4
    assert corpus.metrics["records"] == {"warcinfo": 1, "response": 53}
    assert_balanced(corpus)


def test_a_page_leaves_for_the_reason_that_is_its_own(corpus: Artifact) -> None:
    reasons = reason_by_url(corpus)
    assert reasons["http://example.org/german"] == "language_de"
    assert reasons["http://example.org/short"] == "word_count"
    assert reasons["http://example.org/blank"] == "no_text"


def test_the_same_page_in_two_files_stays_once(corpus: Artifact) -> None:
    kept, lost = documents_of(corpus), rejections_of(corpus)
    twice = {url for url, _ in topic_pages(40)[20:28]}
    kept_twice = kept[kept["url"].isin(twice)]
    assert len(kept_twice) >= 4 and kept_twice["url"].is_unique
    copies = lost[lost["reason"] == "exact_duplicate"]
    assert set(kept_twice["url"]) <= set(copies["url"])
    first = topic_pages(1)[0][0]
    assert {first, "http://example.org/again"} & set(copies["url"])  # another address, the same text


def test_of_near_duplicates_the_longest_stays(corpus: Artifact) -> None:
    longest = max(topic_pages(40), key=lambda item: len(item[1]))[0]
    assert reason_by_url(corpus)[longest] in ("near_duplicate", "exact_duplicate")
    assert longest not in set(documents_of(corpus)["url"])
    assert "http://example.org/near" in set(documents_of(corpus)["url"])
    lost = rejections_of(corpus)
    assert lost[lost["reason"] == "near_duplicate"]["score"].between(0.8, 1).all()


def test_heldout_documents_are_no_copies_of_training_documents(corpus: Artifact) -> None:
    from near_pairs import alike

    from curator_pipelines.stages.fingerprint import text_hash

    train, heldout = split_of(corpus, "train"), split_of(corpus, "heldout")
    assert len(train) and len(heldout)
    assert not set(train["id"]) & set(heldout["id"])
    assert not set(train["text"].map(text_hash)) & set(heldout["text"].map(text_hash))
    assert max(alike(one, other) for one in train["text"] for other in heldout["text"]) < 0.8


def test_two_workers_write_the_same_bytes_as_one(files: list[Path], corpus: Artifact, tmp_path: Path) -> None:
    overrides = ["partition_bytes=20000", "heldout_share=0.2", "workers=2"]
    other = curate_files(tmp_path / "out", files, *overrides)
    assert other.metrics["partitions"] > 2
    assert other.sha256 == corpus.sha256


def test_where_partitions_are_cut_changes_no_document(files: list[Path], corpus: Artifact, tmp_path: Path) -> None:
    whole = curate_files(tmp_path / "out", files, "partition_bytes=10000000", "heldout_share=0.2")
    assert whole.metrics["partitions"] == 2 < corpus.metrics["partitions"]
    assert whole.sha256 == corpus.sha256


def test_the_same_file_twice_adds_only_duplicates(tmp_path: Path) -> None:
    file = write_pages(tmp_path / "pages.warc.gz", topic_pages(20))
    once, twice = curate_files(tmp_path / "once", [file]), curate_files(tmp_path / "twice", [file, file])
    assert set(documents_of(once)["id"]) == set(documents_of(twice)["id"])
    assert_balanced(twice)


def test_a_second_call_reuses_the_corpus_whatever_runs_it(files: list[Path], corpus: Artifact) -> None:
    overrides = ["partition_bytes=20000", "heldout_share=0.2", "workers=2"]
    assert curate_files(corpus.path, files, *overrides).record == corpus.record
