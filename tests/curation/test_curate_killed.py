"""A curation killed at any point and run again ends with the corpus of one that was not."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from glide_process import files_in, kill, start, wait_for
from small_warc import topic_pages, write_pages

from glide_nemo.artifact import Artifact, load
from glide_nemo.cli import main

SETTINGS = ["partition_bytes=8000"]


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    warc = write_pages(folder / "pages.warc.gz", topic_pages(60))
    assert main(["crawl", "--out", str(folder / "crawl"), "--warc", str(warc)]) == 0
    return folder / "crawl"


@pytest.fixture(scope="module")
def uninterrupted(crawl: Path) -> Artifact:
    out = crawl.with_name("uninterrupted")
    assert main(["curate", "--crawl", str(crawl), "--out", str(out), "workers=1", *SETTINGS]) == 0
    return load(out)


def test_killed_between_partitions_it_goes_on_with_those_that_are_missing(
    crawl: Path, uninterrupted: Artifact, tmp_path: Path
) -> None:
    arguments = ["curate", "--crawl", str(crawl), "--out", str(tmp_path / "corpus"), *SETTINGS]
    process = start(*arguments, "workers=2")
    work = tmp_path / "corpus" / "work"
    wait_for(lambda: files_in(work, "[0-9]*.json") >= 2, process)
    kill(process)
    assert not (tmp_path / "corpus" / "artifact.json").exists()
    done = {path: path.stat().st_mtime_ns for path in work.glob("[0-9]*.json")}
    assert 2 <= len(done) < uninterrupted.metrics["partitions"]

    from curator_pipelines import corpus_record

    seen = {}
    conclude = corpus_record.conclude_corpus
    with pytest.MonkeyPatch.context() as patch:

        def look(*arguments: object) -> None:
            seen.update({path: path.stat().st_mtime_ns for path in done})
            conclude(*arguments)

        patch.setattr(corpus_record, "conclude_corpus", look)
        assert main([*arguments, "workers=1"]) == 0
    assert seen == done  # what was done before the kill was not done again
    assert load(tmp_path / "corpus").sha256 == uninterrupted.sha256


KILL = """
import functools, importlib, os
def die_in(module, name, call):
    module = importlib.import_module(module)
    function, calls = getattr(module, name), []
    @functools.wraps(function)
    def last(*arguments, **options):
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), 9)
        return function(*arguments, **options)
    setattr(module, name, last)
"""


DIE_BEFORE_CLEANING_UP = """
import shutil
remove = shutil.rmtree
@functools.wraps(remove)
def rmtree(path, *arguments, **options):
    if os.path.basename(path) == "work":
        os.kill(os.getpid(), 9)
    remove(path, *arguments, **options)
shutil.rmtree = rmtree
"""


@pytest.mark.parametrize(
    ("point", "left"),
    [
        ('die_in("curator_pipelines.stages.write_corpus", "write_shards", 2)', {"train", "work"}),
        (
            DIE_BEFORE_CLEANING_UP,
            {"train", "heldout", "rejections", "contamination", "work"},
        ),
        ('die_in("glide_nemo.artifact", "_seal", 1)', {"train", "heldout", "rejections", "contamination"}),
    ],
    ids=["while_writing", "before_cleaning_up", "before_sealing"],
)
def test_killed_in_the_second_half_it_ends_the_same(
    crawl: Path, uninterrupted: Artifact, tmp_path: Path, point: str, left: set[str]
) -> None:
    arguments = ["curate", "--crawl", str(crawl), "--out", str(tmp_path / "corpus"), "workers=1", *SETTINGS]
    process = start(*arguments, first=KILL + point)
    assert process.wait(timeout=240) == -signal.SIGKILL
    assert {path.name for path in (tmp_path / "corpus").iterdir() if path.is_dir()} == left
    assert main(arguments) == 0
    assert load(tmp_path / "corpus").sha256 == uninterrupted.sha256
    assert not (tmp_path / "corpus" / "work").exists()
