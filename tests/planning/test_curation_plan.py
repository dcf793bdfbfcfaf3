"""A plan of a curation is the arithmetic it says it is, and the document quotes what it gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from glide_nemo.planning.curation import (
    BYTES_PER_DOCUMENT,
    FILES_PER_PARTITION,
    GB,
    HOUR,
    MB,
    OF_CLEAN,
    OF_HTML,
    OF_LANGUAGE,
    OF_PAGES,
    OF_SECOND_PASS,
    WORKER_BYTES,
    Costs,
    Crawl,
    describe,
    measured_costs,
    plan_curation,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "curation-at-scale.md"
STAGES = {"read_warc", "write_corpus", *OF_HTML, *OF_PAGES, *OF_LANGUAGE, *OF_CLEAN, *OF_SECOND_PASS}
UNIT = Costs(
    cpu_seconds_per_megabyte=dict.fromkeys(STAGES, 1.0),
    cpu_microseconds_per_document={"index": 3.0, "near_duplicates": 5.0, "ledgers": 2.0},
    bytes_per_document={
        "paragraphs": 40.0,
        "bands": 200.0,
        "index": 50.0,
        "candidates": 10.0,
        "ledger_of_rejected": 100.0,
    },
    bytes_per_text_byte={"documents": 0.5, "sketches": 0.75},
)
ROUND = Crawl(
    warcs=10, warc_bytes=100 * MB, pages=1_000_000, html_bytes=10_000, text_bytes=1_000,
    in_language=0.5, clean=0.2, unique=0.1,
)  # fmt: skip


def test_cpu_seconds_are_megabytes_that_enter_times_cost() -> None:
    plan = plan_curation(ROUND, UNIT)
    seconds = {stage.name: stage.cpu_seconds for stage in plan.first_half}
    assert seconds["read_warc"] == 1_000  # 10 files of 100 MB
    assert seconds["extract_html"] == 10_000  # a million pages of 10 kB
    assert seconds["language"] == 1_000  # of 1 kB of text
    assert seconds["quality"] == 500  # half of them
    assert seconds["redact_pii"] == seconds["fingerprint"] == 200  # a fifth
    passes = len(OF_CLEAN) + len(OF_SECOND_PASS)
    assert plan.first_half_seconds == pytest.approx(
        11_000 + 1_000 * len(OF_PAGES) + 500 * len(OF_LANGUAGE) + 200 * passes
    )
    assert plan.second_half_seconds == pytest.approx(200_000 * 8e-6 + 900_000 * 2e-6 + 100)  # and 100 MB written
    assert plan.hours(10) * HOUR == pytest.approx(plan.first_half_seconds / 10 + plan.second_half_seconds)


def test_disk_and_bytes_moved_are_those_of_the_files() -> None:
    plan = plan_curation(ROUND, UNIT)
    assert plan.disk == pytest.approx(
        {
            "WARC files": 1.0 * GB,
            "documents, both passes": 200 * MB,  # 200,000 of 500 bytes, twice
            "sketches": 150 * MB,
            "paragraphs": 8 * MB,
            "bands": 40 * MB,
            "index": 10 * MB,
            "candidates": 2 * MB,
            "ledger, twice": 180 * MB,  # 900,000 that leave
            "corpus, and dealt out": 100 * MB,
        }
    )
    assert plan.moved == pytest.approx((2 * 8 + 40 + 2 * 2 + 3 * 50) * MB)


def test_partitions_end_with_their_file_and_files_and_memory_follow_them() -> None:
    plan = plan_curation(ROUND, UNIT, partition_bytes=30 * MB, memory_mb=64)
    assert plan.partitions == 40
    assert plan.files == 40 * FILES_PER_PARTITION
    assert plan.memory["near-duplicates"] == pytest.approx(200_000 * BYTES_PER_DOCUMENT)
    assert plan.memory["sorts and joins"] == 64 * MB
    assert plan.memory["a worker"] == WORKER_BYTES + 13 * 30 * MB


def test_parts_of_a_crawl_take_together_what_it_takes() -> None:
    whole, part = plan_curation(Crawl(), measured_costs()), plan_curation(Crawl().part(90), measured_costs())
    assert 90 * part.first_half_seconds == pytest.approx(whole.first_half_seconds, rel=1e-3)
    assert 90 * sum(part.disk.values()) == pytest.approx(sum(whole.disk.values()), rel=1e-3)


@pytest.mark.parametrize("groups", [1, 90])
def test_the_document_quotes_the_plan_of_the_costs_that_were_measured(groups: int) -> None:
    told = describe(plan_curation(Crawl().part(groups), measured_costs()), cores=1_000 // groups)
    assert told in DOCUMENT.read_text(encoding="utf-8"), told
