"""Paragraphs that several documents have: the first copy stays, boilerplate goes, and the ledger adds up."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path

import pytest
from ledgers import assert_balanced, curate_files, documents_of, reason_by_url, rejections_of
from small_warc import page, topic_pages, write_pages

from curator_pipelines.stages.hash_paragraphs import SEPARATOR, paragraph_hashes
from glide_nemo.artifact import Artifact

ON = ["paragraphs.drop_repeated=true", "paragraphs.max_copies=8", "heldout_share=0.2", "partition_bytes=20000"]
SHARED = (
    "A paragraph that three of the pages have in common, as a quotation that others take over and that is long "
    "enough to be one."
)
BOILERPLATE = (
    "This site uses the information that visitors leave behind to make the pages better, as the terms of use "
    "explain at length."
)


def with_paragraphs(body: bytes, *paragraphs: str) -> bytes:
    added = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    return body.replace(b"</body>", added.encode() + b"</body>")


@pytest.fixture(scope="module")
def warc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pages = topic_pages(30)
    for number in range(12):
        pages[number] = (pages[number][0], with_paragraphs(pages[number][1], BOILERPLATE))
    for number in (20, 21, 22):
        pages[number] = (pages[number][0], with_paragraphs(pages[number][1], SHARED, SHARED.upper()))
    only = page("Only boilerplate", "")
    pages.append(("http://example.org/only", with_paragraphs(only, BOILERPLATE, SHARED, "This line stands alone.")))
    pages += [(f"http://example.org/again{number}", pages[25][1]) for number in range(12)]
    return write_pages(tmp_path_factory.mktemp("warc") / "pages.warc.gz", pages)


@pytest.fixture(scope="module")
def corpus(warc: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return curate_files(tmp_path_factory.mktemp("corpus") / "out", [warc], *ON, "quality.min_words=20")


def test_the_first_copy_stays_and_boilerplate_goes_everywhere(corpus: Artifact) -> None:
    texts = documents_of(corpus)["text"]
    assert sum(SHARED.casefold() in text.casefold() for text in texts) == 1
    assert not any(BOILERPLATE in text for text in texts)
    assert_balanced(corpus)
    counts = corpus.metrics["counts"]["repeated_paragraphs"]
    assert counts["boilerplate"] == 13 and counts["later_copies"] >= 6


def test_a_document_of_repetitions_leaves_by_that_reason(corpus: Artifact) -> None:
    assert reason_by_url(corpus)["http://example.org/only"] == "repeated_paragraphs"
    lost = rejections_of(corpus)
    assert (lost[lost["reason"] == "repeated_paragraphs"]["score"] < 50).all()


def test_a_page_that_was_recorded_often_is_no_boilerplate(corpus: Artifact) -> None:
    often = {topic_pages(30)[25][0], *(f"http://example.org/again{number}" for number in range(12))}
    assert len(often & set(documents_of(corpus)["url"])) == 1
    assert sum(reason_by_url(corpus).get(url) == "exact_duplicate" for url in often) == 12


def test_what_is_kept_agrees_with_a_dictionary_over_the_whole_corpus(warc: Path, tmp_path: Path) -> None:
    """A reference that holds all in memory: documents in the order of ids, the paragraphs seen so far."""
    off = ["heldout_share=0.2", "near_duplicates.threshold=1.1", "quality.min_words=20"]
    before = documents_of(curate_files(tmp_path / "off", [warc], *off)).sort_values("id")
    after = documents_of(curate_files(tmp_path / "on", [warc], *off, *ON))
    holders = defaultdict(set)
    for id_, text in zip(before["id"], before["text"], strict=True):
        for hash_ in paragraph_hashes(text, 80):
            holders[hash_].add(id_)
    seen, expected = {0}, {}
    for id_, text in zip(before["id"], before["text"], strict=True):
        kept = []
        for paragraph, hash_ in zip(text.split(SEPARATOR), paragraph_hashes(text, 80), strict=True):
            if hash_ == 0 or (hash_ not in seen and len(holders[hash_]) <= 8):
                kept.append(paragraph)
                seen.add(hash_ or 0)
        rewritten = SEPARATOR.join(kept)
        if rewritten == text or len(rewritten.split()) >= 50:
            expected[id_] = rewritten
    assert dict(zip(after["id"], after["text"], strict=True)) == expected
    assert expected != dict(zip(before["id"], before["text"], strict=True))


def test_workers_and_cuts_change_no_byte(warc: Path, corpus: Artifact, tmp_path: Path) -> None:
    settings = [*ON, "quality.min_words=20"]
    assert curate_files(tmp_path / "two", [warc], *settings, "workers=2").sha256 == corpus.sha256
    whole = curate_files(tmp_path / "whole", [warc], *settings, "partition_bytes=10000000")
    assert whole.metrics["partitions"] == 1 < corpus.metrics["partitions"] and whole.sha256 == corpus.sha256


@pytest.mark.parametrize("point", ["paragraph_decisions", "drop_repeated_paragraphs"])
def test_killed_between_or_in_the_passes_it_ends_the_same(
    warc: Path, corpus: Artifact, tmp_path: Path, point: str
) -> None:
    import importlib

    module = importlib.import_module(f"curator_pipelines.stages.{point}")
    name = "save" if point == "paragraph_decisions" else "pq"
    calls = []
    real = getattr(module, name)

    def dies(*arguments: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return (real if name == "save" else real.read_table)(*arguments, **options)

    settings = [*ON, "quality.min_words=20"]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, name, dies if name == "save" else type("Dying", (), {"read_table": staticmethod(dies)}))
        curate_files(tmp_path / "out", [warc], *settings)
    assert not (tmp_path / "out" / "artifact.json").exists()
    assert curate_files(tmp_path / "out", [warc], *settings).sha256 == corpus.sha256


def test_hashes_do_not_see_case_and_white_space_and_skip_what_is_short() -> None:
    long = " ".join(random.Random(0).choices(["alpha", "beta", "gamma"], k=30))
    one = paragraph_hashes(f"{long}\n\nshort\n\n{long.upper().replace(' ', '  ')}", 80)
    assert one[0] == one[2] != 0 and one[1] == 0
    assert len(paragraph_hashes("", 80)) == 1
