"""Finds the records of WARC files, gzipped or not, from any place in the file, and past whatever is damaged.

warcio parses a record; this only says where one begins and ends, since its own iterator stops at the first damage and
reads from the start. A gzipped WARC has one gzip member a record, so any member is a place to start from.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from typing import BinaryIO

from glide_nemo.crawl.locate import open_binary

GZIP_MEMBER = b"\x1f\x8b\x08"
RECORD = b"WARC/"
AFTER_RECORD = b"\r\n\r\n"
BLOCK = 1 << 16
MAX_HEADER = 1 << 16


@dataclass(frozen=True)
class Framed:
    """One record as it lies in the file. `problem` names why `content` is not to be trusted."""

    offset: int  # of the record, or of the gzip member that holds it
    content: bytes  # WARC header, empty line, block
    problem: str = ""


def is_gzipped(path: str | PathLike[str]) -> bool:
    with open_binary(path) as file:
        return file.read(2) == GZIP_MEMBER[:2]


def records(path: str | PathLike[str], start: int, end: int, max_bytes: int) -> Iterator[Framed]:
    """The records that begin in `[start, end)` of a file, damaged ones included.

    Records longer than `max_bytes` come cut, with the problem `record_too_large`; no more than that is held in memory.
    """
    with open_binary(path) as file:
        if is_gzipped(path):
            yield from _gzipped(file, start, end, max_bytes)
        else:
            yield from _plain(file, start, end, max_bytes)


def _gzipped(file: BinaryIO, start: int, end: int, max_bytes: int) -> Iterator[Framed]:
    """Members that begin in the range, and what lies unreadable between them: it belongs to the one before."""
    offset = _next_member(file, start, end if start else None)
    if not start:
        yield from _gap(file, 0, offset, max_bytes)
    while offset is not None and offset < end:
        content, after, problem = inflate(file, offset, max_bytes)
        if problem:
            yield Framed(offset, content, problem)
        else:
            for framed in _plain(io.BytesIO(content), 0, len(content), max_bytes):
                yield Framed(offset, framed.content, framed.problem)
        offset = _next_member(file, offset + 1 if after is None else after, None)
        if after is not None:  # what follows a damaged member is its own damage
            yield from _gap(file, after, offset, max_bytes)


def _gap(file: BinaryIO, start: int, end: int | None, max_bytes: int) -> Iterator[Framed]:
    """The bytes between two readable members, or after the last, as one damaged record; padding is none."""
    file.seek(start)
    lost = file.read(max_bytes if end is None else min(max_bytes, end - start))
    if lost.strip(b"\0\r\n"):
        cut_short = end is None and lost.startswith(GZIP_MEMBER[: len(lost)]) and not _is_corrupt(lost)
        yield Framed(start, lost, "truncated" if cut_short else "corrupt_gzip")


def _is_corrupt(member: bytes) -> bool:
    try:
        zlib.decompressobj(wbits=31).decompress(member, 1)
    except zlib.error:
        return True
    return False


def inflate(file: BinaryIO, offset: int, max_bytes: int) -> tuple[bytes, int | None, str]:
    """A gzip member's content, cut at `max_bytes`; the offset after it (None where it is damaged); what is wrong."""
    file.seek(offset)
    decompressor = zlib.decompressobj(wbits=31)
    content = bytearray()
    read = 0
    try:
        while not decompressor.eof:
            block = decompressor.unconsumed_tail or file.read(BLOCK)
            if not block:
                return bytes(content), None, "truncated"
            read += len(block) - len(decompressor.unconsumed_tail)
            inflated = decompressor.decompress(block, BLOCK * 16)
            content += inflated[: max(0, max_bytes + 1 - len(content))]
    except zlib.error:
        return bytes(content), None, "corrupt_gzip"
    after = offset + read - len(decompressor.unused_data)
    return bytes(content[:max_bytes]), after, "record_too_large" if len(content) > max_bytes else ""


def _next_member(file: BinaryIO, start: int, end: int | None) -> int | None:
    """The first offset in `[start, end)` (`None`: the file's end) where a gzip member begins that holds a record."""
    for offset in find_all(file, GZIP_MEMBER, start, end):
        file.seek(offset)
        try:
            if zlib.decompressobj(wbits=31).decompress(file.read(BLOCK), len(RECORD)).startswith(RECORD):
                return offset
        except zlib.error:
            continue
    return None


def _plain(file: BinaryIO, start: int, end: int, max_bytes: int) -> Iterator[Framed]:
    """Frames uncompressed records by their Content-Length, and looks for the next record where that is a lie."""
    offset = start
    while offset < end:
        header, length = _header(file, offset)
        if length is None:
            after, content, problem = None, header, "unreadable_record"
        else:
            after = offset + len(header) + length
            content = header + file.read(min(length, max(0, max_bytes - len(header))))
            problem = _ending(file, after)
            if not problem and len(header) + length > max_bytes:
                problem = "record_too_large"
        if problem in ("", "record_too_large"):
            yield Framed(offset, content, problem)
            offset = _skip_blank(file, after)
        else:
            following = next(find_all(file, AFTER_RECORD + RECORD, offset + 1, None), None)
            offset_after = following + len(AFTER_RECORD) if following is not None else end
            yield Framed(offset, content[: offset_after - offset], problem)
            offset = offset_after


def _header(file: BinaryIO, offset: int) -> tuple[bytes, int | None]:
    """A record's header with its empty line, and the Content-Length it states (None where it cannot be read)."""
    file.seek(offset)
    header = bytearray()
    length = None
    while line := file.readline(MAX_HEADER):
        header += line
        if len(header) > MAX_HEADER:
            return bytes(header), None
        if not line.strip():
            break
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            length = int(value)
    return bytes(header), length if header.startswith(RECORD) else None


def _ending(file: BinaryIO, after: int) -> str:
    """What is wrong with a record that says it ends at `after`: nothing where a record or the file's end follows."""
    size = file.seek(0, io.SEEK_END)
    if after > size:
        return "truncated"
    file.seek(after)
    rest = file.read(len(AFTER_RECORD) + len(RECORD)).lstrip(b"\r\n")
    return "" if not rest or rest.startswith(RECORD) else "wrong_length"


def _skip_blank(file: BinaryIO, offset: int) -> int:
    """The offset after the empty lines that close a record."""
    file.seek(offset)
    gap = file.read(64)
    return offset + len(gap) - len(gap.lstrip(b"\r\n"))


def find_all(file: BinaryIO, needle: bytes, start: int, end: int | None) -> Iterator[int]:
    """The offsets in `[start, end)` at which `needle` begins, without reading the file into memory."""
    offset = start
    while end is None or offset < end:
        file.seek(offset)
        window = file.read(BLOCK * 4)
        found = window.find(needle)
        while found >= 0:
            if end is not None and offset + found >= end:
                return
            yield offset + found
            found = window.find(needle, found + 1)
        if len(window) < BLOCK * 4:
            return
        offset += len(window) - len(needle) + 1
