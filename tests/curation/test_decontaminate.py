"""What holds an item leaves, whole or in passages, with its span in the ledger; what holds none stays as it is."""

from __future__ import annotations

import dataclasses
import pickle
import signal
from pathlib import Path

import pytest
from benchmark_items import BENCHMARKS, batch_of, clean_texts, indexed, planted, topic_items
from glide_process import start
from ledgers import split_of
from nemo_curator.pipeline import Pipeline
from nemo_curator.tasks import DocumentBatch
from small_warc import topic_pages, write_pages
from test_curate_killed import KILL

from curator_pipelines.decontamination.fetch import IndexConfig, fetch
from curator_pipelines.decontamination.items import Item
from curator_pipelines.decontamination.passages import cut_passages
from curator_pipelines.decontamination.settings import Decontamination
from curator_pipelines.decontamination.words import split_words
from curator_pipelines.executors import LocalExecutor
from curator_pipelines.ledger import CONTAMINATION, COUNTS, REJECTIONS, Contamination
from curator_pipelines.stages.decontaminate import Decontaminate
from glide_nemo.artifact import load
from glide_nemo.cli import main
from glide_nemo.errors import GlideError

ITEM = "The lamp in the tower burns all night, so that no ship of the harbour is ever lost to the rocks."
QUOTE = "so that no ship of the harbour is ever lost to the rocks"  # 13 words: 1 of the item's 9 grams


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return topic_items(200)


@pytest.fixture(scope="module")
def index(items: list[Item], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return indexed(tmp_path_factory.mktemp("index"), items)


def stage(index: Path, **settings: object) -> Decontaminate:
    made = Decontaminate(str(index), **settings)
    made.setup()
    return made


def one(index: Path, text: str, **settings: object) -> tuple[list[str], list[Contamination], DocumentBatch]:
    batch = stage(index, **settings).process(batch_of([text]))
    return list(batch.to_pandas()["text"]), batch._metadata[CONTAMINATION], batch


def test_two_hundred_planted_items_are_found_and_none_of_five_hundred_clean_documents(
    items: list[Item], index: Path
) -> None:
    clean = clean_texts(500, 900)
    texts = [planted(host, item.text) for host, item in zip(clean[:200], items, strict=True)]
    batch = stage(index).process(batch_of(texts + clean))
    left = batch.to_pandas()
    assert list(left["id"]) == [f"d{number:04d}" for number in range(200, 700)]
    assert list(left["text"]) == clean
    lost = {row.id: row for row in batch._metadata[REJECTIONS]}
    # The topics say some things twice, so that a document may hold a part of another item as well.
    rows = {(row.id, row.item): row for row in batch._metadata[CONTAMINATION]}
    assert len(lost) == 200 == batch._metadata[COUNTS]["decontaminate"]["documents"] and len(rows) < 220
    for number, item in enumerate(items):
        row, rejection = rows[f"d{number:04d}", item.id], lost[f"d{number:04d}"]
        assert (row.benchmark, row.overlap, row.removed) == (item.benchmark, 1.0, "document")
        assert " ".join(split_words(item.text)) in " ".join(split_words(row.span))
        assert rejection.reason.startswith("contaminated_") and rejection.score == 1.0
    assert {row.benchmark for row in rows.values()} == set(BENCHMARKS)


def test_case_punctuation_and_white_space_hide_no_item_and_the_span_reads_as_the_document_does(tmp_path: Path) -> None:
    index = indexed(tmp_path, [Item("quiz", "7", ITEM)])
    disguised = (
        "THE *lamp*\nin the tower — burns\u00a0all night; so that “no ship” of the harbour is ever lost to the rocks"
    )
    left, (row,), _ = one(index, f"Für die Küste gilt: {disguised}. End.")
    assert left == [] and row.span == disguised and row.overlap == 1.0


def test_an_overlap_below_the_threshold_is_counted_and_stays(tmp_path: Path) -> None:
    index = indexed(tmp_path, [Item("quiz", "7", ITEM), Item("exam", "8", ITEM)])
    left, rows, batch = one(index, f"It says: {QUOTE}.")
    assert len(left) == 1 and rows == [] and batch._metadata[COUNTS]["decontaminate"] == {"items_below_threshold": 2}
    left, rows, batch = one(index, f"It says: {QUOTE}.", thresholds={"exam": 0.1})
    assert left == [] and [(row.benchmark, row.overlap, row.span) for row in rows] == [("exam", 0.1111, QUOTE)]
    assert [row.reason for row in batch._metadata[REJECTIONS]] == ["contaminated_exam"]
    left, rows, _ = one(index, f"It says: {QUOTE}.", threshold=0.0)
    assert left == [] and [row.benchmark for row in rows] == ["quiz", "exam"]


def test_a_short_item_is_found_whole_only(tmp_path: Path) -> None:
    index = indexed(tmp_path, [Item("quiz", "1", "Who keeps the lamp of the old tower?")])
    assert one(index, "Tell me, who keeps the lamp of the old tower?")[0] == []
    assert len(one(index, "Tell me, who keeps the lamp of the old house?")[0]) == 1


def test_a_passage_leaves_with_what_stands_around_it_and_the_rest_stays(tmp_path: Path) -> None:
    index = indexed(tmp_path, [Item("quiz", "7", ITEM)])
    before, after = clean_texts(2, 900)
    left, (row,), batch = one(index, f"{before} {ITEM} {after}", mode="passage", window=200, min_piece=200)
    assert row.removed == "passage" and row.span == ITEM.rstrip(".") and batch._metadata[REJECTIONS] == []
    (text,) = left
    assert text.startswith(before.lstrip()[:500]) and text.endswith(after.rstrip()[-500:])
    assert ITEM not in text and 380 < len(before) + len(after) - len(text) < 640
    assert list(batch.to_pandas()["bytes"]) == [len(text.encode())]
    assert batch._metadata[COUNTS]["decontaminate"] == {"passages": 1}
    again, rows, _ = one(index, text, mode="passage")
    assert again == [text] and rows == []


def test_a_document_that_passages_leave_nothing_of_leaves_whole(tmp_path: Path) -> None:
    index = indexed(tmp_path, [Item("quiz", "7", ITEM)])
    left, (row,), batch = one(index, f"Look. {ITEM} Yes.", mode="passage")
    assert left == [] and row.removed == "document"
    assert [lost.reason for lost in batch._metadata[REJECTIONS]] == ["contaminated_quiz"]


def test_cuts_keep_whole_words_and_long_pieces() -> None:
    text = "aaaa bbbb cccc dddd eeee ffff gggg hhhh"
    cut = text.index("dddd")
    spans = [(cut, cut + 4)]
    assert cut_passages(text, spans, window=0, min_piece=1, max_pieces=9) == "aaaa bbbb cccc\n\neeee ffff gggg hhhh"
    assert cut_passages(text, spans, window=2, min_piece=1, max_pieces=9) == "aaaa bbbb\n\nffff gggg hhhh"
    assert cut_passages(text, spans, window=2, min_piece=10, max_pieces=9) == "ffff gggg hhhh"
    assert cut_passages(text, spans, window=2, min_piece=50, max_pieces=9) is None
    assert cut_passages(text, spans, window=0, min_piece=1, max_pieces=1) is None
    assert cut_passages(text, spans, window=99, min_piece=1, max_pieces=9) is None
    two = [(5, 9), (cut, cut + 4)]
    assert cut_passages(text, two, window=0, min_piece=1, max_pieces=9) == "aaaa\n\ncccc\n\neeee ffff gggg hhhh"
    assert cut_passages(text, two, window=5, min_piece=1, max_pieces=9) == "ffff gggg hhhh"


def test_an_empty_batch_passes_and_the_stage_travels_to_workers(index: Path) -> None:
    made = pickle.loads(pickle.dumps(Decontaminate(str(index), thresholds={"proofs": 0.2})))
    made.setup()
    batch = made.process(batch_of([]))
    assert batch.num_items == 0 and batch._metadata[CONTAMINATION] == []


def test_the_number_of_workers_does_not_show(items: list[Item], index: Path) -> None:
    hosts = clean_texts(40, 900)
    texts = [planted(host, items[number].text) if number % 3 else host for number, host in enumerate(hosts)]
    batches = [batch_of(texts[at : at + 10]) for at in range(0, 40, 10)]

    def run(workers: int) -> list[tuple]:
        pipeline = Pipeline(name="one", stages=[Decontaminate(str(index), mode="passage")])
        return [
            (result.to_pandas().to_dict("list"), list(map(dataclasses.astuple, result._metadata[CONTAMINATION])))
            for result in pipeline.run(LocalExecutor(workers), batches)
        ]

    assert run(1) == run(2)


def test_a_curation_killed_and_run_again_ends_with_the_same_ledger(tmp_path: Path) -> None:
    pages = topic_pages()[:10]
    pages += [
        (url.replace("org/", "org/with/"), body.replace(b"</p>", f" {ITEM}</p>".encode(), 1))
        for url, body in topic_pages()[-4:]
    ]
    warc = write_pages(tmp_path / "pages.warc.gz", pages)
    rows = tmp_path / "items.jsonl"
    rows.write_text(f'{{"benchmark": "quiz", "id": "7", "text": "{ITEM}"}}\n', encoding="utf-8")
    benchmarks = fetch(IndexConfig(), tmp_path / "benchmarks", files=[rows])
    assert main(["crawl", "--out", str(tmp_path / "crawl"), "--warc", str(warc)]) == 0
    settings = [f"decontamination.benchmarks={benchmarks.path}", "partition_bytes=8000", "workers=1"]
    arguments = ["curate", "--crawl", str(tmp_path / "crawl"), *settings]

    assert main([*arguments, "--out", str(tmp_path / "whole")]) == 0
    die = 'die_in("curator_pipelines.stages.partition_files", "write_atomically", 2)'
    assert start(*arguments, "--out", tmp_path / "killed", first=KILL + die).wait(timeout=240) == -signal.SIGKILL
    assert main([*arguments, "--out", str(tmp_path / "killed")]) == 0
    corpus = load(tmp_path / "whole")
    assert load(tmp_path / "killed").sha256 == corpus.sha256
    held = split_of(corpus, "contamination")
    assert len(held) == corpus.metrics["contaminated"] >= 1
    assert set(held["span"]) == {ITEM.rstrip(".")} and all("/with/" in url for url in held["url"])
    reasons = {row["reason"]: row["documents"] for row in corpus.metrics["rejections"]}
    assert reasons["contaminated_quiz"] == len(held)


def test_settings_say_what_is_wrong_with_them(tmp_path: Path) -> None:
    assert Decontamination().stages() == []
    (made,) = Decontamination(benchmarks="b", thresholds={"quiz": 0.3}, mode="passage").stages()
    assert (made.index, made.thresholds, made.mode) == ("b/index", {"quiz": 0.3}, "passage")
    for settings, said in (
        ({"mode": "both"}, "unknown decontamination.mode 'both': choose one of document, passage"),
        ({"threshold": 1.5}, "threshold=1.5 is no share"),
        ({"thresholds": {"quiz": -1.0}}, "quiz=-1.0 is no share"),
        ({"window": -1}, "decontamination.window=-1 is negative"),
        ({"benchmarks": str(tmp_path)}, "no finished benchmarks"),
    ):
        with pytest.raises(GlideError, match=said):
            Decontamination(**settings).check()
    rows = tmp_path / "items.jsonl"
    rows.write_text(f'{{"benchmark": "quiz", "text": "{ITEM}"}}\n', encoding="utf-8")
    made = fetch(IndexConfig(), tmp_path / "benchmarks", files=[rows])
    Decontamination(benchmarks=str(made.path), thresholds={"quiz": 0.3}).check()
    with pytest.raises(GlideError, match=r"no benchmark 'quizz' in .*: it holds quiz"):
        Decontamination(benchmarks=str(made.path), thresholds={"quizz": 0.3}).check()
