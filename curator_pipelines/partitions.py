"""Cuts input files into ranges that one worker can hold in memory, and that one kill can cost."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from curator_pipelines.warc import AFTER_RECORD, BLOCK, RECORD, find_all, is_gzipped
from glide_nemo.crawl.kinds import JSONL, PARQUET, TEXT, WARC, WET, WIKIPEDIA
from glide_nemo.crawl.locate import is_url, open_binary, size_of
from glide_nemo.crawl.sources import SourceFile, check
from glide_nemo.crawl.unpack import GZIP, TOO_FAR, unpack
from glide_nemo.errors import GlideError

PLAIN_FACTOR = 5  # HTML is about this much larger than its gzip


@dataclass(frozen=True)
class Partition:
    """What begins in `[start, end)` of a file: records, lines, pages by their bytes, rows by their number."""

    index: int
    path: str
    name: str  # of the file as the user knows it
    start: int
    end: int
    kind: str = WARC
    size: int = 0  # bytes, about: what progress counts
    files: tuple[tuple[str, str, str], ...] = ()  # of text files, which a partition holds whole: path, name, packed how
    problem: str = ""  # what ended the unpacking of its file too early


def cut(
    files: Sequence[SourceFile],
    partition_bytes: int,
    unpacked: Path,
    fields: Mapping[str, str] | None = None,
    first: int = 0,
) -> list[Partition]:
    """The partitions of all files, in order, numbered from `first`. They depend on files and `partition_bytes` alone.

    A file that was compressed as a whole, or in blocks as bgzip does, has one place to start from only: it is unpacked
    into `unpacked` first. `fields` names the columns of tables. Raises GlideError for a file that is not of its kind.
    """
    partitions: list[Partition] = []
    for number, file in enumerate(files):
        target = unpacked / f"{first:05d}.{number:05d}.unpacked"
        if file.kind in (WARC, WET):
            partitions += _warc_ranges(file, partition_bytes, target)
        elif file.kind == PARQUET:
            partitions += _row_ranges(file, partition_bytes, fields or {"text_field": "text"})
        elif file.kind in (JSONL, WIKIPEDIA):
            partitions += _byte_ranges(file, partition_bytes * PLAIN_FACTOR, target)
        else:
            assert file.kind == TEXT, file.kind
            _add_text(partitions, file, partition_bytes * PLAIN_FACTOR)
    return [replace(partition, index=index) for index, partition in enumerate(partitions, first)]


def _named(file: SourceFile) -> str:
    return file.name or Path(file.path).name


def _warc_ranges(file: SourceFile, partition_bytes: int, target: Path) -> Iterator[Partition]:
    path, problem = file.path, ""
    if not is_url(path):
        check(Path(path))
    if is_gzipped(path) and _is_gzipped_as_a_whole(path):
        unpacked, problem = unpack(path, GZIP, target)
        path = str(unpacked)
    size = size_of(path)
    step = partition_bytes if is_gzipped(path) else partition_bytes * PLAIN_FACTOR
    starts = range(0, size, step) if is_gzipped(path) else _plain_starts(path, step)
    for start, end in pairwise([*starts, size]):
        told = problem if end == size and problem == TOO_FAR else ""  # the reader sees other damage for itself
        yield Partition(0, path, _named(file), start, end, file.kind, end - start, problem=told)


def _byte_ranges(file: SourceFile, step: int, target: Path) -> Iterator[Partition]:
    path, problem = file.path, ""
    if file.compression:
        unpacked, problem = unpack(path, file.compression, target)
        path = str(unpacked)
    size = size_of(path)
    for start, end in pairwise([*range(0, max(1, size), step), size]):
        yield Partition(0, path, _named(file), start, end, file.kind, end - start, problem=problem)


def _row_ranges(file: SourceFile, partition_bytes: int, fields: Mapping[str, str]) -> Iterator[Partition]:
    from curator_pipelines.formats.parquet import row_ranges

    ranges = row_ranges(file.path, partition_bytes * PLAIN_FACTOR, fields)
    for start, end in ranges:
        yield Partition(0, file.path, _named(file), start, end, PARQUET, file.bytes // len(ranges))


def _add_text(partitions: list[Partition], file: SourceFile, step: int) -> None:
    """Adds a text file to the last partition while that has room, else to one of its own."""
    entry = (file.path, _named(file), file.compression)
    last = partitions[-1] if partitions else None
    if last and last.kind == TEXT and last.size + file.bytes <= step:
        partitions[-1] = replace(last, size=last.size + file.bytes, end=last.end + 1, files=(*last.files, entry))
    else:
        partitions.append(Partition(0, file.path, _named(file), 0, 1, TEXT, file.bytes, (entry,)))


def _plain_starts(path: str, step: int) -> list[int]:
    """Offsets of records, about `step` bytes apart."""
    size = size_of(path)
    starts = [0]
    with open_binary(path) as file:
        while starts[-1] + step < size:
            found = next(find_all(file, AFTER_RECORD + RECORD, starts[-1] + step, None), None)
            if found is None:
                break
            starts.append(found + len(AFTER_RECORD))
    return starts


def _is_gzipped_as_a_whole(path: str) -> bool:
    """Whether the first member holds something else than one record. GlideError where it is no part of a WARC file."""
    decompressor = zlib.decompressobj(wbits=31)
    border = AFTER_RECORD + RECORD
    seen = b""
    with open_binary(path) as file:
        while not decompressor.eof and (block := decompressor.unconsumed_tail or file.read(BLOCK)):
            try:
                content = decompressor.decompress(block, BLOCK * 16)
            except zlib.error:
                return False  # damaged: the reader looks for the members after it
            if content and not seen and not content.startswith(RECORD):
                raise GlideError(
                    f"{path} unpacks to {content[:8]!r}, not to a WARC file: pass one that a crawler wrote"
                )
            if border in seen + content:
                return True
            seen = (seen + content)[-len(border) :]
    return decompressor.eof and not seen.endswith(AFTER_RECORD)
