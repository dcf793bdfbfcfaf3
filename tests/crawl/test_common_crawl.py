"""Common Crawl's files from a real server that fails: chosen evenly, whole in the end, fetched once."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flaky_server import FlakyServer
from glide_process import kill, start, wait_for
from small_warc import topic_pages, write_pages

from glide_nemo.artifact import Artifact, load
from glide_nemo.cli import main
from glide_nemo.crawl.common_crawl import CommonCrawlConfig, common_crawl, spread
from glide_nemo.crawl.download import ends_with_a_whole_member
from glide_nemo.errors import GlideError

ID = "CC-MAIN-2025-05"
LIST = f"crawl-data/{ID}/warc.paths.gz"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FlakyServer]:
    """A crawl of ten WARC files."""
    files = {}
    for number, pages in enumerate(zip(*[iter(topic_pages(40))] * 4, strict=False)):
        path = write_pages(tmp_path / "made.warc.gz", list(pages))
        files[f"crawl-data/{ID}/segments/1/warc/{number:05d}.warc.gz"] = path.read_bytes()
    assert len(files) == 10
    files[LIST] = gzip.compress("".join(f"{name}\n" for name in files).encode())
    with FlakyServer(files) as running:
        yield running


def fetch(server: FlakyServer, out: Path, files: int = 3, **more: object) -> Artifact:
    config = CommonCrawlConfig(files=files, base_url=server.url, max_wait_seconds=0.01, tries=3, **more)
    return common_crawl(config, ID, out)


def chosen(server: FlakyServer, *numbers: int) -> list[str]:
    names = [name for name in server.files if name != LIST]
    return [names[number] for number in numbers]


def test_files_are_spread_evenly_over_the_crawl_and_arrive_as_they_are(server: FlakyServer, tmp_path: Path) -> None:
    crawl = fetch(server, tmp_path / "crawl")
    names = chosen(server, 0, 3, 6)
    assert crawl.metrics["paths"] == names and crawl.metrics["source"] == ID
    assert [(crawl.path / entry["path"]).read_bytes() for entry in crawl.metrics["warcs"]] == [
        server.files[name] for name in names
    ]
    assert spread(list(range(7)), 100) == list(range(7)) and spread(list(range(90_000)), 2) == [0, 45_000]
    assert fetch(server, tmp_path / "crawl", parallel=1).record == crawl.record
    assert len(server.asked) == 4


@pytest.mark.parametrize("fault", ["503", "drop", "short", "corrupt"])
def test_what_a_failing_server_sends_is_whole_in_the_end(fault: str, server: FlakyServer, tmp_path: Path) -> None:
    first, *others = chosen(server, 0, 3, 6)
    server.faults = {first: [fault, fault], others[0]: [fault], LIST: [fault]}
    crawl = fetch(server, tmp_path / "crawl")
    assert (crawl.path / crawl.metrics["warcs"][0]["path"]).read_bytes() == server.files[first]
    assert not list(crawl.path.rglob("*.partial"))
    if fault == "drop":  # each byte came once
        assert server.sent[first] == len(server.files[first])
        assert [range_ != "" for path, range_ in server.asked if path == first] == [False, True, True]
    assert crawl.sha256 == fetch(server, tmp_path / "again").sha256


def test_a_truncated_answer_without_any_digest_is_told_by_its_last_member(tmp_path: Path, server: FlakyServer) -> None:
    server.etags = False
    (first,) = chosen(server, 0)
    server.faults = {first: ["short", "short"]}
    crawl = fetch(server, tmp_path / "crawl", files=1)
    assert (crawl.path / crawl.metrics["warcs"][0]["path"]).read_bytes() == server.files[first]


def test_a_server_that_never_recovers_ends_in_one_line_and_keeps_what_came(
    server: FlakyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, _ = chosen(server, 0, 3, 6)
    server.faults = {first: ["drop", *["503"] * 50]}
    options = ["files=3", f"base_url={server.url}", "tries=2", "max_wait_seconds=0.01", "parallel=1"]
    command = ["crawl", "--common-crawl", ID, "--out", str(tmp_path / "crawl"), *options]
    assert main(command) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(told) == 1 and "HTTP status 503" in told[0] and "it goes on" in told[0]
    server.faults = {}
    assert main(command) == 0
    assert server.sent[first] == len(server.files[first])
    assert load(tmp_path / "crawl").metrics["paths"][1] == second


def test_a_failure_cuts_off_transfers_that_wait_for_a_server_which_does_not_answer(
    server: FlakyServer, tmp_path: Path
) -> None:
    first, second, third = chosen(server, 0, 3, 6)
    server.faults = {first: ["drop", *["503"] * 9], second: ["stall"], third: ["stall"]}
    started = time.monotonic()
    with pytest.raises(GlideError, match="HTTP status 503"):
        fetch(server, tmp_path / "crawl")
    assert time.monotonic() - started < CommonCrawlConfig().timeout_seconds / 2
    server.faults = {}
    assert fetch(server, tmp_path / "crawl").sha256 == fetch(server, tmp_path / "uninterrupted").sha256


def test_killed_and_run_again_only_what_is_missing_is_fetched(server: FlakyServer, tmp_path: Path) -> None:
    names = chosen(server, 0, 3, 6)
    server.faults = {names[1]: ["slow"]}
    out = tmp_path / "crawl"
    command = ["crawl", "--common-crawl", ID, "--out", out, "files=3", f"base_url={server.url}", "parallel=1"]
    process = start(*command)
    partial = out / "files" / ".00003.warc.gz.partial"
    wait_for(lambda: partial.exists() and partial.stat().st_size > 2000, process)
    kill(process)
    had = partial.stat().st_size
    server.sent.clear()
    crawl = fetch(server, out)
    assert server.sent[names[0]] == 0 and server.sent[LIST] == 0
    assert [range_ for path, range_ in server.asked if path == names[1]] == ["", f"bytes={had}-"]
    assert crawl.sha256 == fetch(server, tmp_path / "uninterrupted").sha256


def test_a_kill_before_the_proof_costs_no_second_transfer(server: FlakyServer, tmp_path: Path) -> None:
    (first,) = chosen(server, 0)
    server.faults = {first: ["drop", *["503"] * 9]}
    with pytest.raises(GlideError):
        fetch(server, tmp_path / "crawl", files=1)
    server.faults = {}
    partial = tmp_path / "crawl" / "files" / ".00000.warc.gz.partial"
    partial.write_bytes(server.files[first])
    server.sent.clear()
    fetch(server, tmp_path / "crawl", files=1)
    assert server.sent[first] == 0


def test_a_file_that_changed_meanwhile_is_fetched_anew(server: FlakyServer, tmp_path: Path) -> None:
    first, other = chosen(server, 0, 1)
    server.faults = {first: ["drop", *["503"] * 9]}
    with pytest.raises(GlideError):
        fetch(server, tmp_path / "crawl", files=1)
    server.faults = {}
    server.files[first] = server.files[other]
    crawl = fetch(server, tmp_path / "crawl", files=1)
    assert (crawl.path / crawl.metrics["warcs"][0]["path"]).read_bytes() == server.files[other]


@pytest.mark.parametrize(
    "named", ["crawl-data/../../climbed.gz", "/etc/climbed.gz", "crawl-data/a\\..\\b.gz", "elsewhere/x.gz"]
)
def test_a_name_that_climbs_out_of_the_directory_is_refused(named: str, server: FlakyServer, tmp_path: Path) -> None:
    server.files[LIST] = gzip.compress(f"{named}\n".encode())
    server.files[named.lstrip("/")] = gzip.compress(b"x")
    with pytest.raises(GlideError, match="which is no file of a crawl"):
        fetch(server, tmp_path / "deep" / "crawl", files=1)
    assert not list(tmp_path.rglob("climbed.gz"))


def test_what_is_no_crawl_is_told_in_one_line(server: FlakyServer, tmp_path: Path) -> None:
    config = CommonCrawlConfig(base_url=server.url, max_wait_seconds=0.01)
    with pytest.raises(GlideError, match="HTTP status 404"):
        common_crawl(config, "CC-MAIN-1999-01", tmp_path / "a")
    with pytest.raises(GlideError, match="is no crawl's name"):
        common_crawl(config, "../../etc", tmp_path / "b")
    server.files[LIST] = gzip.compress(b"")
    with pytest.raises(GlideError, match="no file in the list"):
        common_crawl(config, ID, tmp_path / "c")


def test_the_crawl_is_what_curate_takes(server: FlakyServer, tmp_path: Path) -> None:
    fetch(server, tmp_path / "crawl", files=2)
    assert main(["curate", "--crawl", str(tmp_path / "crawl"), "--out", str(tmp_path / "corpus"), "workers=1"]) == 0
    assert load(tmp_path / "corpus").metrics["funnel"][0]["documents"] == 8


def test_a_file_is_whole_where_its_last_member_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    content = gzip.compress(b"one" * 1000) + gzip.compress(bytes(range(256)) * 9000)
    for end, whole in ((len(content), True), (-1, False), (-8, False), (-100, False)):
        path.write_bytes(content[:end])
        assert ends_with_a_whole_member(path) == whole, end
    path.write_bytes(content + b"junk")
    assert not ends_with_a_whole_member(path)
