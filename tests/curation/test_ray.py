"""The same pipeline on Ray: the same corpus, nothing left running, and one line where Ray is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from small_warc import topic_pages, write_pages

from glide_nemo.artifact import load

CURATE = [sys.executable, "-m", "glide_nemo", "curate", "--warc"]

pytestmark = pytest.mark.needs_ray


def ray_processes() -> set[int]:
    names = ("raylet", "gcs_server")
    return {process.pid for process in psutil.process_iter(["name"]) if process.info["name"] in names}


@pytest.mark.slow
def test_ray_writes_the_corpus_that_local_processes_write(tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages.warc.gz", topic_pages(12))
    before = ray_processes()
    for executor in ("local", "ray"):
        done = subprocess.run(
            [*CURATE, str(pages), "--out", str(tmp_path / executor), f"executor={executor}"],
            capture_output=True,
            text=True,
            timeout=550,
        )
        assert done.returncode == 0, done.stderr
    assert "logging_progress" not in done.stderr, "Ray's own progress is on the terminal"
    assert load(tmp_path / "ray").sha256 == load(tmp_path / "local").sha256
    assert ray_processes() == before


def test_a_cluster_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages.warc.gz", topic_pages(2))
    done = subprocess.run(
        [*CURATE, str(pages), "--out", str(tmp_path / "out"), "executor=ray"],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"RAY_ADDRESS": "127.0.0.1:1"},
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: no Ray cluster at RAY_ADDRESS=127.0.0.1:1")
