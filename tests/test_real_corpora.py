"""The whole procedure on packages that nobody here wrote, where they can be fetched; licences of what is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from glide_nemo.artifact import load
from glide_nemo.corpus import records

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "real_corpora.py"), "--out", str(out), "workers=1"]
    return subprocess.run(command, capture_output=True, text=True)


def test_licences_are_read_from_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import real_sources

    assert real_sources.license_of(distribution("warcio")) == "Apache-2.0"
    assert real_sources.license_of(distribution("pytest")) == "MIT"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_four_recipes_give_corpora_cards_and_a_blend_and_a_second_run_does_nothing(tmp_path: Path) -> None:
    if not all(map(shutil.which, ("apt-get", "dpkg"))):
        pytest.skip("needs Debian's apt-get and dpkg")
    first = run(tmp_path)
    if "cannot fetch" in first.stderr:
        pytest.skip(first.stderr.strip())
    assert first.returncode == 0, first.stderr
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    again = run(tmp_path)
    assert [line for line in again.stdout.splitlines() if "reused" not in line][-20:] == [
        line for line in first.stdout.splitlines() if "reused" not in line
    ][-20:]
    assert {path: path.stat().st_mtime_ns for path in written if path.suffix in (".parquet", ".bin")} == {
        path: time for path, time in written.items() if path.suffix in (".parquet", ".bin")
    }
    for recipe in ("english", "german", "code", "books"):
        corpus = load(tmp_path / recipe / "corpus", "corpus")
        assert (tmp_path / recipe / "card" / "README.md").exists()
        assert sum(part["documents"] for part in corpus.metrics["split"].values()) >= 10
    languages = {row["language"] for row in records(load(tmp_path / "german" / "corpus"), "train", ("language",))}
    assert languages == {"de"}
