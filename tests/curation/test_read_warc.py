"""WARC files as crawlers really write them: a record becomes a page, is counted by its type, or leaves for a reason."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from growth import cpu_seconds
from ledgers import assert_balanced, curate_files, documents_of, reason_by_url
from small_warc import SmallWarc, page, topic_pages

PAGES = topic_pages(12)
PROSE = PAGES[3][1].decode()


def chunked(body: bytes) -> bytes:
    pieces = [body[start : start + 700] for start in range(0, len(body), 700)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def reasons_of(tmp_path: Path, warc: Path) -> dict[str, str]:
    """Why the pages of a file left that were not kept; "" for those that were."""
    corpus = curate_files(tmp_path / "corpus", [warc])
    assert_balanced(corpus)
    return dict.fromkeys(documents_of(corpus)["url"], "") | reason_by_url(corpus)


@pytest.mark.parametrize("name", ["crawl.warc", "crawl.warc.gz"])
def test_a_file_like_common_crawls(tmp_path: Path, name: str) -> None:
    texts = iter(PAGES)
    with SmallWarc(tmp_path / name) as warc:
        warc.record("warcinfo", "", b"")
        for url, _ in PAGES[:4]:
            warc.record("request", url, b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
            warc.response(url, next(texts)[1])
            warc.record("metadata", url, b"fetchTimeMs: 10\r\n", warc_content_type="application/warc-fields")
        warc.response("http://a/chunked", chunked(next(texts)[1]), headers=[("Transfer-Encoding", "chunked")])
        for encoding in ("gzip", "x-gzip", "GZip"):
            body = gzip.compress(next(texts)[1])
            warc.response(f"http://a/{encoding}", body, headers=[("Content-Encoding", encoding)])
        both = [("Transfer-Encoding", "chunked"), ("Content-Encoding", "gzip")]
        warc.response("http://a/both", chunked(gzip.compress(next(texts)[1])), headers=both)
        # Common Crawl unpacks what it stores and leaves the header behind under another name, or as it was.
        warc.response("http://a/unpacked", next(texts)[1], headers=[("Content-Encoding", "gzip")])
        warc.response("http://a/deflate", zlib.compress(next(texts)[1]), headers=[("Content-Encoding", "deflate")])
        warc.response("http://a/zstd", b"\x28\xb5\x2f\xfd...", headers=[("Content-Encoding", "zstd")])
        warc.response("http://a/moved", PAGES[0][1], status="301 Moved Permanently", headers=[("Location", "/")])
        warc.response("http://a/gone", PAGES[0][1], status="404 Not Found")
        warc.response("http://a/picture", b"\x89PNG\r\n\x1a\n" * 9, content_type="image/png")
        warc.response("http://a/empty", b"")
        warc.record("revisit", "http://a/seen", b"")
        warc.record("conversion", "http://a/text", b"Plain text.", warc_content_type="text/plain")
        warc.record("resource", "http://a/resource", next(texts)[1], warc_content_type="text/html")
    corpus = curate_files(tmp_path / "corpus", [tmp_path / name])
    assert_balanced(corpus)
    assert corpus.metrics["records"] == {
        "warcinfo": 1, "request": 4, "response": 16, "metadata": 4, "revisit": 1, "conversion": 1, "resource": 1
    }  # fmt: skip
    lost = reason_by_url(corpus)
    assert lost == {
        "http://a/zstd": "unsupported_encoding", "http://a/moved": "http_status", "http://a/gone": "http_status",
        "http://a/picture": "not_html", "http://a/empty": "empty_page",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("encoding", "content_type", "meta"),
    [
        ("utf-8", "text/html", ""),
        ("utf-8", "text/html; charset=ISO-8859-1", ""),  # the header lies; UTF-8 does not happen by chance
        ("latin-1", "text/html; charset=iso-8859-1", ""),
        ("cp1252", "text/html; charset=windows-1252", ""),
        ("cp1252", "text/html; charset=ISO-8859-1", ""),  # what browsers take ISO-8859-1 for
        ("cp1252", 'text/html; charset="no-such-charset"', ""),
        ("cp1252", "text/html", ""),
        ("iso-8859-15", "text/html", "iso-8859-15"),
        ("utf-16", "text/html; charset=utf-16", ""),
    ],
)
def test_a_page_is_read_in_the_encoding_it_is_in(tmp_path: Path, encoding: str, content_type: str, meta: str) -> None:
    from curator_pipelines.stages.extract_html import ExtractHtml
    from curator_pipelines.stages.fix_text import FixText
    from curator_pipelines.stages.read_warc import ReadWarc

    quoted = "“naïve” café" if encoding in ("utf-8", "cp1252", "utf-16") else "naïve café"
    html = PROSE.replace('<meta charset="utf-8">', f'<meta charset="{meta}">' if meta else "")
    html = html.replace("</h1>", f"</h1><p>The {quoted} is open, and has been for many years.</p>")
    with SmallWarc(tmp_path / "one.warc") as warc:
        warc.response("http://a/", html.encode(encoding, "xmlcharrefreplace"), content_type=content_type)
    batch = read_range(tmp_path / "one.warc", ReadWarc(), ExtractHtml(), FixText())
    (text,) = batch.to_pandas()["text"]
    assert f"The {quoted} is open" in text


def read_range(path: Path, *stages):  # noqa: ANN201 - a Curator batch, from Curator's stages
    from nemo_curator.tasks import FileGroupTask

    range_ = {"index": 0, "path": str(path), "name": path.name, "start": 0, "end": path.stat().st_size}
    task = FileGroupTask("one", [str(path)], reader_config={**range_, "source": "s", "license": "l"})
    for stage in stages:
        task = stage.process(task)
    return task


def test_a_few_invalid_bytes_cost_these_bytes_and_many_cost_the_page(tmp_path: Path) -> None:
    from curator_pipelines.ledger import REJECTIONS
    from curator_pipelines.stages.extract_html import ExtractHtml
    from curator_pipelines.stages.read_warc import ReadWarc

    accented = PROSE.replace("</h1>", "</h1>" + "<p>Où est le café ? À la maison, très près d’ici.</p>" * 5).encode()
    with SmallWarc(tmp_path / "one.warc.gz") as warc:
        warc.response("http://a/few", accented.replace(b"</h1>", b"\xff\xfe</h1>"))
        warc.response(
            "http://a/many", bytes(range(128, 160)) * 40 + b"\x81\x8d" * 500, content_type="text/html; charset=utf-8"
        )
    batch = read_range(tmp_path / "one.warc.gz", ReadWarc(), ExtractHtml())
    pages = batch.to_pandas()
    assert list(pages["url"]) == ["http://a/few"]
    assert "Où est le café ? À la maison, très près d’ici." in pages["text"].item()
    assert "\ufffd" not in pages["text"].item()
    (lost,) = batch._metadata[REJECTIONS]
    assert lost.reason == "undecodable_text" and lost.score > 0.001


def test_duplicates_of_an_address_stay_where_their_content_differs(tmp_path: Path) -> None:
    with SmallWarc(tmp_path / "again.warc.gz") as warc:
        warc.response("http://a/", PAGES[0][1])
        warc.response("http://a/", PAGES[0][1])
        warc.response("http://a/", PAGES[1][1])
    corpus = curate_files(tmp_path / "corpus", [tmp_path / "again.warc.gz"])
    assert_balanced(corpus)
    assert len(documents_of(corpus)) == 2 and list(reason_by_url(corpus).values()) == ["exact_duplicate"]


def test_a_page_larger_than_allowed_leaves_by_name_even_if_it_was_sent_compressed(tmp_path: Path) -> None:
    with SmallWarc(tmp_path / "large.warc.gz") as warc:
        for url, body in PAGES[:3]:
            warc.response(url, body)
        warc.response("http://a/bomb", gzip.compress(b"<p>" + b"a" * 3_000_000), headers=[("Content-Encoding", "gzip")])
        warc.response("http://a/long", b"<p>" + b"b " * 2_000_000)
    corpus = curate_files(tmp_path / "corpus", [tmp_path / "large.warc.gz"], "max_page_bytes=1000000")
    lost = reason_by_url(corpus)
    assert lost["http://a/bomb"] == "page_too_large" and lost["http://a/long"] == "record_too_large"
    assert len(documents_of(corpus)) + len(lost) == 5


@pytest.mark.skipif(not shutil.which("wget"), reason="no wget here to record a WARC with")
@pytest.mark.parametrize("compress", [True, False])
def test_a_file_that_wget_wrote(tmp_path: Path, compress: bool) -> None:
    site = tmp_path / "site"
    site.mkdir()
    for number, (_, body) in enumerate(PAGES[:6]):
        (site / f"{number}.html").write_bytes(body)
    links = "".join(f"<a href='{number}.html'>{number}</a>" for number in range(6)) + "<a href='none.html'>none</a>"
    (site / "index.html").write_bytes(page("Index", "All").replace(b"</body>", links.encode() + b"</body>"))
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
        cwd=site, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        address = server.stdout.readline().split("(")[1].split(")")[0]
        options = ["--warc-file=site", *([] if compress else ["--no-warc-compression"])]
        subprocess.run(
            ["wget", "-q", "-r", "-l1", "--no-proxy", "-e", "robots=off", *options, address], cwd=tmp_path, timeout=60
        )
    finally:
        server.kill()
        server.wait()
    reasons = reasons_of(tmp_path, tmp_path / ("site.warc.gz" if compress else "site.warc"))
    # wget writes the address in angle brackets, and keeps its own log as a resource.
    assert {f"{address}{number}.html" for number in range(6)} == {url for url, why in reasons.items() if not why}
    assert reasons[f"{address}none.html"] == "http_status"


def test_reading_a_file_costs_no_more_for_its_place_in_it(tmp_path: Path) -> None:
    """Cutting a file into many partitions reads it about once: each starts at its own offset."""
    from curator_pipelines.warc import records

    with SmallWarc(tmp_path / "many.warc.gz") as warc:
        for number in range(400):
            warc.response(f"http://a/{number}", PAGES[number % 12][1])
    path, size = tmp_path / "many.warc.gz", (tmp_path / "many.warc.gz").stat().st_size

    def read(step: int) -> None:
        starts = range(0, size, step)
        found = [r.offset for start in starts for r in records(path, start, min(start + step, size), 1 << 24)]
        assert found == warc.offsets

    once, in_parts = (min(cpu_seconds(read, size // parts) for _ in range(3)) for parts in (1, 40))
    assert in_parts < 5 * once + 0.5
