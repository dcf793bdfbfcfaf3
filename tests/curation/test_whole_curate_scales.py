"""The whole `glide curate`, every stage on that needs no model of its own: memory and time as the input grows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from glide_process import files_in, kill, start, wait_for
from many_pages import write_items, write_many_pages
from process_memory import Usage, watch

from glide_nemo.artifact import load
from glide_nemo.cli import main
from glide_nemo.planning.curation import Crawl, measured_costs, plan_curation

PAGES = 1_000
SETTINGS = ["workers=2", "memory_mb=64", "paragraphs.drop_repeated=true", "max_toxicity=0.9"]


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmarks")
    write_items(folder / "items.jsonl")
    assert main(["decontam", "fetch", "--items", str(folder / "items.jsonl"), "--out", str(folder / "index")]) == 0
    return folder / "index"


def command(warc: Path, out: Path, benchmarks: Path, partition_bytes: int) -> list[str]:
    inputs = ["--warc", str(warc), "--out", str(out), f"decontamination.benchmarks={benchmarks}"]
    return ["curate", "--recipe", "english", *inputs, f"partition_bytes={partition_bytes}", *SETTINGS]


def curated(folder: Path, pages: int, benchmarks: Path) -> tuple[Usage, dict[str, Any], int]:
    """What the command takes, what it counted, and the bytes of its input."""
    warc, out = folder / f"{pages}.warc.gz", folder / str(pages)
    write_many_pages(warc, pages)
    usage = watch([sys.executable, "-m", "glide_nemo", *command(warc, out, benchmarks, 1 << 17)])
    return usage, load(out).metrics, warc.stat().st_size


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_eight_times_the_input_takes_no_more_memory_and_eight_times_the_time(tmp_path: Path, benchmarks: Path) -> None:
    small, few, _ = curated(tmp_path, PAGES, benchmarks)
    large, many, size = curated(tmp_path, 8 * PAGES, benchmarks)
    print(small, large, sep="\n")
    for metrics, pages in ((few, PAGES), (many, 8 * PAGES)):
        assert metrics["funnel"][-1]["documents"] > 0.9 * pages
        assert metrics["contaminated"] > 0
        # An exact copy loses each of its paragraphs before pages are compared.
        assert {"repeated_paragraphs", "near_duplicate"} <= {row["reason"] for row in metrics["rejections"]}
        assert metrics["counts"]["repeated_paragraphs"]["later_copies"] > 0
        assert metrics["counts"]["redact_pii"]["email"] > 0
    assert large.peak_bytes <= 1.3 * small.peak_bytes
    assert large.own_peak_bytes <= 1.3 * small.own_peak_bytes
    assert large.cpu_seconds <= 9 * small.cpu_seconds

    predicted = plan_curation(crawl_of(many, size), measured_costs())
    seconds = predicted.first_half_seconds + predicted.second_half_seconds
    further = (large.cpu_seconds - small.cpu_seconds) * 8 / 7  # without what starting takes
    print(f"predicted {seconds:.1f} CPU seconds, measured {further:.1f}")
    assert 1 / 3 < further / seconds < 3


def crawl_of(metrics: dict[str, Any], size: int) -> Crawl:
    """A curation's own funnel, as a plan takes it."""
    left = {row["stage"]: row for row in metrics["funnel"]}
    pages = left["crawled"]["documents"]

    def share(stage: str) -> float:
        return left[stage]["documents"] / pages

    html, text = (left[stage]["bytes"] / pages for stage in ("crawled", "extract_html"))
    return Crawl(1, size, pages, html, text, share("language"), share("quality"), share("hold_out"))


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["first_pass", "."], ids=["first pass", "second pass"])
def test_killed_in_either_pass_it_goes_on_and_ends_the_same(tmp_path: Path, benchmarks: Path, folder: str) -> None:
    warc = tmp_path / "pages.warc.gz"
    write_many_pages(warc, 300)
    whole, killed = (command(warc, tmp_path / name, benchmarks, 1 << 14) for name in ("whole", "killed"))
    assert main(whole) == 0
    process = start(*killed)
    work = tmp_path / "killed" / "work" / folder
    wait_for(lambda: files_in(work, "[0-9]*.json") >= 3, process)
    kill(process)
    done = {path: path.stat().st_mtime_ns for path in work.glob("[0-9]*.json")}
    assert 3 <= len(done) < load(tmp_path / "whole").metrics["partitions"]
    assert main(killed) == 0
    assert load(tmp_path / "killed").sha256 == load(tmp_path / "whole").sha256
