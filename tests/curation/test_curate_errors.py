"""Whatever cannot be curated ends in one line on stderr and exit status 2, through the command line."""

from __future__ import annotations

import bz2
import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_warc import HTML, SmallWarc, page, topic_pages, write_pages

from glide_nemo.cli import main

PAGES = topic_pages(8)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that `glide ARGUMENTS` ends with."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    return told[0]


def test_what_is_no_warc_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write_pages(tmp_path / "good.warc.gz", PAGES)
    arc = b"filedesc://a.arc 0.0.0.0 20240101000000 text/plain 76\n1 0 Example\n"
    cases = {
        "missing.warc": (None, "no such file or directory"),
        "empty.warc": (b"", "empty file"),
        "text.warc": (b"Just some text, no records at all.\n" * 9, "is not a WARC file"),
        "text.warc.gz": (gzip.compress(b"Just some text, no records at all.\n" * 9), "not to a WARC file"),
        "old.arc.gz": (gzip.compress(arc), "not to a WARC file"),
        "packed.warc.bz2": (bz2.compress(b"WARC/1.0"), "bunzip2"),
        "packed.warc.zst": (b"\x28\xb5\x2f\xfd" + b"x" * 99, "zstd -d"),
    }
    for name, (content, expected) in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        for files in ([tmp_path / name], [good, tmp_path / name]):
            told = refused(capsys, "curate", "--out", tmp_path / f"{name}-{len(files)}", "--warc", *files, "workers=1")
            assert expected in told and name in told, told


def test_a_directory_instead_of_a_file_says_how_to_pass_what_is_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is a directory: pass the WARC files in it" in refused(
        capsys, "curate", "--out", tmp_path / "o", "--warc", tmp_path
    )


def test_a_warc_without_html_says_what_it_held(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with SmallWarc(tmp_path / "wet.warc.gz") as warc:
        warc.record("warcinfo", "", b"")
        warc.record("conversion", "http://a/", b"Text without its page.", warc_content_type="text/plain")
    told = refused(capsys, "curate", "--out", tmp_path / "wet", "--warc", tmp_path / "wet.warc.gz", "workers=1")
    assert "holds no page, only 1 conversion, 1 warcinfo records" in told
    with SmallWarc(tmp_path / "pictures.warc.gz") as warc:
        warc.response("http://a/1.png", b"\x89PNG\r\n\x1a\n", content_type="image/png")
    told = refused(capsys, "curate", "--out", tmp_path / "p", "--warc", tmp_path / "pictures.warc.gz", "workers=1")
    assert "of 1 pages none is left as a document, lost to not_html 1" in told


def test_a_corpus_filtered_to_nothing_says_what_took_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    warc = write_pages(tmp_path / "pages.warc.gz", PAGES)
    limits = ["quality.min_words=1000000", "quality.max_words=2000000"]
    told = refused(capsys, "curate", "--out", tmp_path / "none", "--warc", warc, "workers=1", *limits)
    assert "of 8 pages none is left as a document, lost to word_count 8" in told and "loosen the thresholds" in told
    assert not (tmp_path / "none" / "artifact.json").exists()
    one = write_pages(tmp_path / "one.warc.gz", PAGES[:1])
    assert "of 1 pages 1 is left" in refused(capsys, "curate", "--out", tmp_path / "one", "--warc", one, "workers=1")


def test_a_page_that_breaks_no_stage_is_not_lost_to_its_neighbours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pages with every oddity at once go through, or leave by name; none stops the run."""
    odd = {
        "nul": page("NUL", PAGES[0][1].decode()[:3000] + "\0" * 50),
        "deep": b"<div>" * 20_000 + b"deep",
        "surrogate": b"<p>&#xD800;&#xDFFF;</p>" * 100,
        "unclosed": b"<html><body><p>" + b"never <b>closed " * 500,
        "utf7": b"+ADw-script+AD4-" * 100,
        "invalid": b"<p>" + bytes(range(256)) * 20,
        "no_end": b"<!--" * 1000,
    }
    with SmallWarc(tmp_path / "odd.warc.gz") as warc:
        for name, body in odd.items():
            warc.response(f"http://a/{name}", body, content_type="text/html" if name == "invalid" else HTML)
        warc.response("http://a/\ud83d".encode("utf-8", "replace").decode(), PAGES[1][1])
        for url, body in PAGES:
            warc.response(url, body)
    out = tmp_path / "odd"
    assert main(["curate", "--out", str(out), "--warc", str(tmp_path / "odd.warc.gz"), "workers=1"]) == 0
    from ledgers import assert_balanced

    from glide_nemo.artifact import load

    corpus = load(out)
    assert corpus.metrics["funnel"][0]["documents"] == len(odd) + 1 + len(PAGES)
    assert_balanced(corpus)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("executor=spark", "choose one of local, ray"),
        ("extractor=lynx", "choose one of resiliparse"),
        ("heldout_share=2", "between 0 and 1"),
        ("workers=-1", "0 uses every CPU core"),
        ("partition_bytes=0", "number of bytes above 0"),
        ("pipeline=no.such.module", "no module no.such.module"),
        ("pipeline=json", "has no document_stages(config)"),
        ("qualty.min_words=3", "did you mean 'quality.min_words'?"),
        ("quality.min_words=many", "cannot apply quality.min_words=many"),
    ],
)
def test_a_setting_that_no_run_could_use_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str, expected: str
) -> None:
    warc = write_pages(tmp_path / "pages.warc.gz", PAGES[:2])
    assert expected in refused(capsys, "curate", "--out", tmp_path / "o", "--warc", warc, setting)


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    warc = write_pages(tmp_path / "pages.warc.gz", PAGES[:2])
    (tmp_path / "file").write_text("taken")
    assert "is a file" in refused(capsys, "crawl", "--out", tmp_path / "file", "--warc", warc)
    assert "file" in refused(capsys, "curate", "--out", tmp_path / "file" / "below", "--warc", warc)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("years of work")
    assert "not GLiDE's" in refused(capsys, "crawl", "--out", tmp_path / "foreign", "--warc", warc)
    assert (tmp_path / "foreign" / "thesis.tex").read_text() == "years of work"
    if os.geteuid() and os.path.isdir("/proc"):
        (tmp_path / "closed").mkdir(mode=0o500)
        assert "no permission" in refused(capsys, "crawl", "--out", tmp_path / "closed" / "o", "--warc", warc)
    elif os.path.isdir("/proc"):  # nothing is closed to root but what is no file system of its own
        assert "/proc/glide" in refused(capsys, "crawl", "--out", "/proc/glide", "--warc", warc)


def test_a_warc_file_that_was_moved_or_changed_since_the_crawl_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warc = write_pages(tmp_path / "pages.warc.gz", PAGES)
    assert main(["crawl", "--out", str(tmp_path / "crawl"), "--warc", str(warc)]) == 0
    arguments = ["curate", "--crawl", tmp_path / "crawl", "--out", tmp_path / "o"]
    with open(warc, "ab") as file:
        file.write(b"more")
    assert "has changed since" in refused(capsys, *arguments)
    warc.unlink()
    assert f"no such WARC file, {warc}" in refused(capsys, *arguments)


GLIDE = [sys.executable, "-c", "import sys; from glide_nemo.cli import main; sys.exit(main())"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_is_one_line_and_the_same_command_goes_on_when_there_is_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "glide", disk], capture_output=True).returncode:
        pytest.skip("no right to mount a small disk here")
    try:
        pages = topic_pages(40)
        warc = write_pages(tmp_path / "pages.warc.gz", pages)
        command = ["curate", "--out", str(disk / "corpus"), "--warc", str(warc), "partition_bytes=8000"]
        first = subprocess.run([*GLIDE, *command, "workers=2"], capture_output=True, text=True, timeout=300)
        told = [line for line in first.stderr.splitlines() if "Traceback" in line or line.startswith("error:")]
        assert first.returncode == 2, first.stderr
        assert len(told) == 1 and "no space left on the disk" in told[0] and "goes on" in told[0], first.stderr
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        assert main([*command, "workers=1"]) == 0
    finally:
        subprocess.run(["umount", "--lazy", disk])  # a process may have it open still
