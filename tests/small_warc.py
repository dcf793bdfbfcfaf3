"""Builds small WARC files as crawlers write them, of real English prose: Python's help topics."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

HTML = "text/html; charset=utf-8"


def topic_pages(count: int = 1000) -> list[tuple[str, bytes]]:
    """(URL, HTML page) of the longer help topics, each another text."""
    from pydoc_data.topics import topics

    chosen = [(name, text) for name, text in sorted(topics.items()) if len(text) > 1500][:count]
    return [(f"http://example.org/{name}.html", page(name, text)) for name, text in chosen]


def page(title: str, text: str) -> bytes:
    """An HTML page in UTF-8 with a paragraph for each of the text's."""
    body = "\n".join(f"<p>{html.escape(part)}</p>" for part in text.split("\n\n"))
    head = f'<head><meta charset="utf-8"><title>{html.escape(title)}</title></head>'
    return f"<!DOCTYPE html><html>{head}<body><h1>{html.escape(title)}</h1>{body}</body></html>".encode()


class SmallWarc:
    """A WARC file under construction, gzipped by record if its name ends in .gz. `offsets`: where records begin."""

    def __init__(self, path: Path, version: str = "WARC/1.0") -> None:
        self.path = path
        self.offsets: list[int] = []
        self._file = open(path, "wb")  # noqa: SIM115 - closed on exit
        self._writer = WARCWriter(self._file, gzip=path.suffix == ".gz", warc_version=version)

    def response(
        self,
        url: str,
        body: bytes,
        *,
        status: str = "200 OK",
        content_type: str = HTML,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        """An HTTP answer; `body` as it went over the wire."""
        answer = StatusAndHeaders(status, [("Content-Type", content_type), *headers], protocol="HTTP/1.1")
        self.record("response", url, body, http_headers=answer)

    def record(self, kind: str, url: str, body: bytes, **options: object) -> None:
        """A record of any type; options as in warcio's create_warc_record."""
        self.offsets.append(self._file.tell())
        if kind == "warcinfo":
            made = self._writer.create_warcinfo_record(self.path.name, {"software": "small_warc"})
        elif kind == "revisit":
            made = self._writer.create_revisit_record(url, "sha1:AAAA", url, "2024-01-01T00:00:00Z")
        else:
            made = self._writer.create_warc_record(url, kind, payload=io.BytesIO(body), **options)
        self._writer.write_record(made)

    def __enter__(self) -> SmallWarc:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def write_pages(path: Path, pages: Sequence[tuple[str, bytes]]) -> Path:
    """A WARC of one response a page."""
    with SmallWarc(path) as warc:
        for url, body in pages:
            warc.response(url, body)
    return path
