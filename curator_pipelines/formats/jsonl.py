"""JSONL in byte ranges: a line belongs to the range that it begins in; bad lines are lost one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from curator_pipelines.formats.document import Found, Lost, Unusable, row_document
from glide_nemo.crawl.locate import open_binary

BLOCK = 1 << 16


def documents(range_: Mapping[str, Any], max_bytes: int) -> Iterator[Found | Lost]:
    """The lines that begin in `[start, end)` as documents; empty lines are none.

    Where the file was cut short, the line that it ends in is lost to that; where it ends between two lines, one more.
    """
    problem, end = range_["problem"], range_["end"]
    with open_binary(range_["path"]) as file:
        size = file.seek(0, 2)
        for offset, length, line in lines(file, range_["start"], end, max_bytes):
            cut_short = problem and offset + length == size and not line.endswith(b"\n")
            place = f"{range_['name']}#{offset}"
            try:
                if length > max_bytes + 1:
                    raise Unusable("line_too_large", float(length))
                if cut_short:
                    raise Unusable(problem, float(length))
                if line.strip():
                    yield row_document(_object(line, offset), range_["fields"], place)
            except Unusable as unusable:
                yield Lost(place, unusable.reason, unusable.score, length, line)
        if problem and end == size and (not size or _last_byte(file, size) == b"\n"):
            yield Lost(f"{range_['name']}#{size}", problem, float(size), 0)


def _last_byte(file: BinaryIO, size: int) -> bytes:
    file.seek(size - 1)
    return file.read(1)


def lines(file: BinaryIO, start: int, end: int, max_bytes: int) -> Iterator[tuple[int, int, bytes]]:
    """(offset, length, content) of the lines that begin in `[start, end)`; content ends after `max_bytes` + 1.

    Ranges that touch give every line of the file once, and together every byte.
    """
    offset = start
    if start:
        file.seek(start - 1)
        offset += _rest_of_line(file) - 1  # nothing where a line ends right before the range
    file.seek(offset)
    while offset < end:
        content = file.readline(max_bytes + 1)
        if not content:
            return
        length = len(content)
        if not content.endswith(b"\n"):
            length += _rest_of_line(file)
        yield offset, length, content
        offset += length


def _rest_of_line(file: BinaryIO) -> int:
    """Reads to the end of a line, however long, and returns how many bytes that were."""
    length = 0
    while block := file.readline(BLOCK):
        length += len(block)
        if block.endswith(b"\n"):
            break
    return length


def _object(line: bytes, offset: int) -> dict[str, Any]:
    try:
        text = line.decode("utf-8-sig" if not offset else "utf-8")
    except UnicodeDecodeError as error:
        raise Unusable("undecodable_text", float(error.start)) from error
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:  # RecursionError: thousands of brackets
        raise Unusable("invalid_json", float(getattr(error, "pos", 0))) from error
    if not isinstance(value, dict):
        raise Unusable("not_an_object")
    return value
