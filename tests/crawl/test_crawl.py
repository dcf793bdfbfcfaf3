"""Crawls of the real documentation server: what is recorded, past what it gets, and what a kill costs."""

from __future__ import annotations

import importlib.util
import re
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from glide_process import kill, start, wait_for
from warcio.archiveiterator import ArchiveIterator
from warcio.checker import Checker

from glide_nemo.artifact import Artifact, load
from glide_nemo.cli import main
from glide_nemo.crawl.crawl import WARC_NAME, CrawlConfig, crawl
from glide_nemo.crawl.fetch import Fetcher
from glide_nemo.crawl.record import whole_members
from glide_nemo.crawl.server import PydocServer
from glide_nemo.crawl.site import SITE, belongs, links

ADDRESS = re.compile(rb"0x[0-9a-f]{6,}")
MODULES = ["email", "heapq", "json"]


def pages_of(warc: Path) -> dict[str, bytes]:
    """Each page without the memory addresses that some print."""
    with open(warc, "rb") as file:
        return {
            record.rec_headers.get_header("WARC-Target-URI"): ADDRESS.sub(b"", record.content_stream().read())
            for record in ArchiveIterator(file)
            if record.rec_type == "response"
        }


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return crawl(CrawlConfig(modules=MODULES), tmp_path_factory.mktemp("crawl") / "out")


def test_the_warc_is_valid_to_warcios_own_checker(small: Artifact) -> None:
    checked = Checker(type("Arguments", (), {"inputs": [str(small.path / WARC_NAME)], "verbose": False}))
    checked.process_all()
    assert checked.exit_value == 0


def test_each_page_is_recorded_once_with_its_request(small: Artifact) -> None:
    with open(small.path / WARC_NAME, "rb") as file:
        records = [(r.rec_type, r.rec_headers.get_header("WARC-Target-URI")) for r in ArchiveIterator(file)]
    assert records[0][0] == "warcinfo"
    answers = [url for kind, url in records if kind == "response"]
    assert answers == [url for kind, url in records if kind == "request"]
    assert len(answers) == len(set(answers)) == small.metrics["pages"]
    assert small.metrics["failed"] == [] and small.metrics["license"] == "PSF-2.0"


def test_only_the_modules_asked_for_are_fetched_and_all_of_what_is_in_them(small: Artifact) -> None:
    names = {url.removeprefix(SITE) for url in pages_of(small.path / WARC_NAME)}
    assert {"", "heapq.html", "json.html", "json.decoder.html", "email.mime.text.html"} <= names
    assert all(name in ("", "index.html") or name.split(".")[0] in MODULES for name in names)
    pages = pages_of(small.path / WARC_NAME)
    linked = {link for url, body in pages.items() for link in links(url, body) if belongs(link, MODULES)}
    assert linked <= set(pages)


def test_pages_hold_nothing_of_this_machine(small: Artifact, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the user's environment (which pydoc prints on its page of `os`) nor what is installed beside GLiDE."""
    monkeypatch.setenv("GLIDE_TEST_SECRET", "correct horse battery staple")
    again = crawl(CrawlConfig(modules=["os"], max_pages=3), tmp_path / "out")
    pages = pages_of(again.path / WARC_NAME)
    assert f"{SITE}os.html" in pages and importlib.util.find_spec("warcio")
    content = b"".join(pages.values())
    assert b"correct horse" not in content and b"warcio.html" not in content


def test_two_crawls_record_the_same_pages(small: Artifact, tmp_path: Path) -> None:
    again = crawl(CrawlConfig(modules=MODULES), tmp_path / "out")
    assert pages_of(again.path / WARC_NAME) == pages_of(small.path / WARC_NAME)


def test_max_pages_is_a_limit(tmp_path: Path) -> None:
    assert crawl(CrawlConfig(modules=MODULES, max_pages=4), tmp_path / "out").metrics["pages"] == 4


def test_a_page_that_hangs_is_given_up_and_the_next_one_fetched() -> None:
    with Fetcher(timeout_seconds=0.001) as fetcher:
        page, reason = fetcher.fetch(f"{SITE}heapq.html")
        assert page is None and reason == "no answer in 0.001 s"
    with Fetcher(timeout_seconds=20) as fetcher:
        psutil.Process(fetcher._server.pid).kill()
        page, reason = fetcher.fetch(f"{SITE}heapq.html")  # from the server started again
        assert page is not None and b"heappush" in page.body and not reason


def test_a_crawl_that_gets_no_page_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crawl", "--out", str(tmp_path / "out"), "page_timeout_seconds=0.001"]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(told) == 1 and "no page could be fetched" in told[0] and "no answer in 0.001 s" in told[0]
    assert not (tmp_path / "out" / "artifact.json").exists()


@pytest.mark.parametrize("setting", ["page_timeout_seconds=0", "max_pages=-1", "delay_seconds=-1"])
def test_a_setting_no_crawl_could_use_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str
) -> None:
    assert main(["crawl", "--out", str(tmp_path / "out"), setting]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_server_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from glide_nemo.crawl import server
    from glide_nemo.errors import GlideError

    monkeypatch.setattr(server, "PYDOC", ["-c", "raise SystemExit(1)"])
    with pytest.raises(GlideError, match="documentation server does not start"):
        PydocServer().start()


def test_a_killed_crawl_goes_on_and_fetches_no_page_twice(small: Artifact, tmp_path: Path) -> None:
    out = tmp_path / "out"
    partial = out / f".{WARC_NAME}.partial"
    arguments = ["crawl", "--out", str(out), f"modules=[{','.join(MODULES)}]"]
    process = start(*arguments, "delay_seconds=0.1")
    wait_for(lambda: partial.exists() and partial.stat().st_size > 30_000, process)
    kill(process)
    before = partial.read_bytes()
    # A kill may also come while a record is written: cut the last one.
    whole = [end for _, end in whole_members(partial)]
    partial.write_bytes(before[: whole[-1] - 5])
    kept = whole[-3]  # after the last page that has both its response and its request

    assert main([*arguments, "delay_seconds=0.1"]) == 0
    finished = load(out)
    content = (out / WARC_NAME).read_bytes()
    assert content[:kept] == before[:kept]
    assert pages_of(out / WARC_NAME) == pages_of(small.path / WARC_NAME)
    assert finished.metrics["pages"] == small.metrics["pages"] > len(whole) // 2
    assert not partial.exists()


def test_killed_between_the_last_page_and_the_record_it_fetches_nothing(small: Artifact, tmp_path: Path) -> None:
    out = tmp_path / "out"
    die = "import os, glide_nemo.artifact; glide_nemo.artifact._seal = lambda *_: os.kill(os.getpid(), 9)"
    process = start("crawl", "--out", str(out), "modules=[heapq]", first=die)
    assert process.wait(timeout=120) == -signal.SIGKILL
    recorded = (out / WARC_NAME).read_bytes()
    assert main(["crawl", "--out", str(out), "modules=[heapq]"]) == 0
    assert (out / WARC_NAME).read_bytes() == recorded
    assert set(pages_of(out / WARC_NAME)) == {SITE, f"{SITE}index.html", f"{SITE}heapq.html"}


def test_the_server_ends_with_a_parent_that_is_killed() -> None:
    code = (
        "import time; from glide_nemo.crawl.server import PydocServer\n"
        "server = PydocServer(); server.start(); print(server.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([psutil.Process().exe(), "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    server = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    assert psutil.wait_procs([server], timeout=10)[1] == []
