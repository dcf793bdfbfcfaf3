"""Writes a WARC page by page, and goes on with one that was cut short."""

from __future__ import annotations

import io
import os
import platform
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import httpx
from warcio.recordloader import ArcWarcRecordLoader
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

import glide_nemo
from glide_nemo.crawl.fetch import Page

BLOCK = 1 << 20


class WarcRecorder:
    """Appends pages to a gzipped WARC (one member a record, as ISO 28500 advises) under a partial name.

    Opening it reads what an earlier run recorded: `pages` maps each URL to its body. What a kill left half-written at
    the end is cut off. `finish()` gives the file its final name; without it the file stays, for a later run to go on.
    """

    def __init__(self, path: Path, software: str) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._software = software
        self.finished = path.exists()  # a kill can come between the last page and the artifact's record
        self.pages: dict[str, bytes] = {}
        self._file: BinaryIO | None = None

    def __enter__(self) -> WarcRecorder:
        written = self._path if self.finished else self._partial
        end = self._read_recorded(written) if written.exists() else 0
        if not self.finished:
            self._file = open(self._partial, "ab")
            self._file.truncate(end)
            if not end:
                self._append(self._warcinfo())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()

    def add(self, page: Page) -> None:
        """Records a fetched page: its response, then the request that asked for it."""
        request, response = page.response.request, page.response
        buffer = io.BytesIO()
        writer = WARCWriter(buffer, gzip=True)
        answer = writer.create_warc_record(
            page.url,
            "response",
            payload=io.BytesIO(page.body),
            http_headers=StatusAndHeaders(
                f"{response.status_code} {response.reason_phrase}",
                _headers(response.headers),
                protocol=response.http_version,
            ),
        )
        asked = writer.create_warc_record(
            page.url,
            "request",
            http_headers=StatusAndHeaders(
                f"{request.method} {request.url.raw_path.decode('ascii')} HTTP/1.1",
                _headers(request.headers),
                is_http_request=True,
            ),
        )
        writer.write_request_response_pair(asked, answer)
        self._append(buffer.getvalue())
        self.pages[page.url] = page.body

    def finish(self) -> None:
        """Makes the file whole on disk, then gives it its final name."""
        if self._file:
            os.fsync(self._file.fileno())
            os.replace(self._partial, self._path)
            self.finished = True

    def _append(self, records: bytes) -> None:
        assert self._file
        self._file.write(records)
        self._file.flush()  # to the kernel: a killed process loses nothing, only a dead machine does

    def _warcinfo(self) -> bytes:
        buffer = io.BytesIO()
        writer = WARCWriter(buffer, gzip=True)
        info = {
            "software": f"GLiDE {glide_nemo.__version__}",
            "format": "WARC File Format 1.0",
            "description": f"{self._software} on Python {platform.python_version()}",
        }
        writer.write_record(writer.create_warcinfo_record(self._path.name, info))
        return buffer.getvalue()

    def _read_recorded(self, path: Path) -> int:
        """Fills `pages` from whole records; returns the offset after the last whole page."""
        loader = ArcWarcRecordLoader()
        target, body = "", b""
        kept = 0
        for member, end in whole_members(path):
            record = loader.parse_record_stream(io.BytesIO(member))
            if record.rec_type == "response":
                target, body = record.rec_headers.get_header("WARC-Target-URI"), record.raw_stream.read()
            elif record.rec_type == "request":  # written after its response: the page is whole
                self.pages[target] = body
                kept = end
            else:
                kept = end
        return kept


def _headers(headers: httpx.Headers) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.raw]


def whole_members(path: Path) -> Iterator[tuple[bytes, int]]:
    """Each whole gzip member of a file: its content, and the offset of its end. Stops where one is cut short."""
    with open(path, "rb") as file:
        end = 0
        block = file.read(BLOCK)
        while block:
            inflate = zlib.decompressobj(wbits=31)
            content = []
            try:
                while block and not inflate.eof:
                    content.append(inflate.decompress(block))
                    end += len(block) - len(inflate.unused_data)
                    block = inflate.unused_data if inflate.eof else file.read(BLOCK)
            except zlib.error:
                return
            if not inflate.eof:
                return
            yield b"".join(content), end
            block = block or file.read(BLOCK)
