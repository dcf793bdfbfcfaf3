"""A directory of HTML becomes a WARC: the same bytes wherever it lies, with its licence, and nothing from outside."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from warcio.archiveiterator import ArchiveIterator
from warcio.checker import Checker

from curator_pipelines.config import CurationConfig
from curator_pipelines.curate import curate
from curator_pipelines.english import nano
from glide_nemo.artifact import Artifact
from glide_nemo.cli import main
from glide_nemo.config import apply_overrides
from glide_nemo.corpus import records
from glide_nemo.crawl.folder import FolderConfig, crawl_folder
from glide_nemo.errors import GlideError

SENTENCES = (
    "The harbour of {name} falls dry twice a day, and who wants to sail has to know when that will be. "
    "Most of the boats have a flat bottom, so that they stand upright in the mud until the water is back. "
    "In winter they lie on the quay, where their owners scrape the hulls and paint them anew, a week for each of them. "
    "Visitors of {name} take a guide who has walked over the flats with his father and knows all of the channels. "
)
LICENSE = "MPL-2.0"


def page(name: str) -> str:
    body = f"<p>{SENTENCES.format(name=name)}</p>"
    return f"<html><head><title>{name}</title></head><body><h1>{name}</h1>{body}</body></html>"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "north").mkdir(parents=True)
    for place, name in (("a.html", "Husum"), ("north/b c.htm", "Esbjerg"), ("north/d.xhtml", "Cuxhaven")):
        (folder / place).write_text(page(name), encoding="utf-8")
    (folder / "style.css").write_text("p {}")
    (folder / ".git").mkdir()
    (folder / ".git" / "hidden.html").write_text(page("Nowhere"))
    return folder


def pages_of(crawl: Artifact) -> dict[str, bytes]:
    (warc,) = crawl.metrics["warcs"]
    with open(crawl.path / warc["path"], "rb") as file:
        return {r.rec_headers.get_header("WARC-Target-URI"): r.content_stream().read() for r in ArchiveIterator(file)}


def test_every_page_is_recorded_by_its_place_and_the_warc_is_valid(site: Path, tmp_path: Path) -> None:
    crawl = crawl_folder(FolderConfig(LICENSE, address="https://example.org/manual"), site, tmp_path / "out")
    base = "https://example.org/manual/"
    assert list(pages_of(crawl)) == [f"{base}a.html", f"{base}north/b%20c.htm", f"{base}north/d.xhtml"]
    assert pages_of(crawl)[f"{base}a.html"] == (site / "a.html").read_bytes()
    assert crawl.metrics["license"] == LICENSE and crawl.metrics["source"] == "site"
    inputs = [str(crawl.path / crawl.metrics["warcs"][0]["path"])]
    checked = Checker(type("Arguments", (), {"inputs": inputs, "verbose": False}))
    checked.process_all()
    assert checked.exit_value == 0


def test_the_same_pages_give_the_same_bytes_elsewhere_and_later(site: Path, tmp_path: Path) -> None:
    first = crawl_folder(FolderConfig(LICENSE, "manual"), site, tmp_path / "first")
    shutil.copytree(site, tmp_path / "copy")
    os.utime(tmp_path / "copy" / "a.html", (1, 1))
    again = crawl_folder(FolderConfig(LICENSE, "manual"), tmp_path / "copy", tmp_path / "again")
    assert first.sha256 == again.sha256
    written = (tmp_path / "again" / "manual.warc.gz").stat().st_mtime_ns
    crawl_folder(FolderConfig(LICENSE, "manual"), site, tmp_path / "again")
    assert (tmp_path / "again" / "manual.warc.gz").stat().st_mtime_ns == written, "a second run does nothing"
    (site / "a.html").write_text(page("Tönning"))
    with pytest.raises(GlideError, match="force"):
        crawl_folder(FolderConfig(LICENSE, "manual"), site, tmp_path / "again")


def test_a_link_that_leads_out_of_the_folder_is_left_out(site: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.html").write_text(page("Secret"))
    (site / "out.html").symlink_to(tmp_path / "secret.html")
    (site / "loop").symlink_to(site)
    crawl = crawl_folder(FolderConfig(), site, tmp_path / "out")
    assert crawl.metrics["pages"] == 3


def test_what_is_no_site_is_refused(site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    cases = (
        (["--site", str(tmp_path / "empty")], "no page in"),
        (["--site", str(tmp_path / "none")], "no directory"),
        (["--site", str(site), "address=example.org"], "is no address"),
        (["--recipe", "folder"], "pass --site"),
    )
    for arguments, reason in cases:
        assert main(["crawl", "--out", str(tmp_path / "out"), *arguments]) == 2
        assert reason in capsys.readouterr().err
    assert not (tmp_path / "out" / "artifact.json").exists()


def config() -> CurationConfig:
    return apply_overrides(nano(), ["workers=1", "heldout_share=0.3"])


def test_a_corpus_of_several_crawls_names_each_ones_source_and_licence(site: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "e.html").write_text(page("Ribe"))
    one = crawl_folder(FolderConfig(LICENSE), site, tmp_path / "one")
    two = crawl_folder(FolderConfig("CC0-1.0"), tmp_path / "other", tmp_path / "two")
    relaxed = apply_overrides(config(), ["near_duplicates.threshold=0.99"])
    corpus = curate(relaxed, [one, two], tmp_path / "corpus")
    found = [row for split in ("train", "heldout") for row in records(corpus, split, ("source", "license"))]
    assert sorted((row["source"], row["license"]) for row in found) == [("other", "CC0-1.0"), *[("site", LICENSE)] * 3]
    assert list(corpus.record["inputs"]) == ["crawl", "crawl_2"]
    with pytest.raises(GlideError, match="given twice"):
        curate(config(), [one, one], tmp_path / "twice")
