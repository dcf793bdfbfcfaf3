"""Cuts WARC files into ranges that one worker can hold in memory, and that one kill can cost."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from curator_pipelines.warc import AFTER_RECORD, BLOCK, RECORD, find_all, is_gzipped
from glide_nemo.crawl.sources import WarcFile, check
from glide_nemo.errors import GlideError

PLAIN_FACTOR = 5  # HTML is about this much larger than its gzip


@dataclass(frozen=True)
class Partition:
    """The records that begin in `[start, end)` of a file."""

    index: int
    path: str
    name: str  # of the file as the user knows it
    start: int
    end: int


def cut(files: Sequence[WarcFile], partition_bytes: int, unpacked: Path) -> list[Partition]:
    """The partitions of all files, in order. They depend on the files and `partition_bytes` alone.

    A file that was gzipped as a whole, or in blocks as bgzip does, has one place to start from only: it is unpacked
    into `unpacked` first. Raises GlideError for a file that is no WARC.
    """
    partitions: list[Partition] = []
    for number, file in enumerate(files):
        path = Path(file.path)
        check(path)
        if is_gzipped(path) and _is_gzipped_as_a_whole(path):
            path = _unpack(path, unpacked / f"{number:05d}.warc")
        size = path.stat().st_size
        step = partition_bytes if is_gzipped(path) else partition_bytes * PLAIN_FACTOR
        starts = range(0, size, step) if is_gzipped(path) else _plain_starts(path, step)
        ends = [*starts[1:], size]
        for start, end in zip(starts, ends, strict=True):
            partitions.append(Partition(len(partitions), str(path), Path(file.path).name, start, end))
    return partitions


def _plain_starts(path: Path, step: int) -> list[int]:
    """Offsets of records, about `step` bytes apart."""
    size = path.stat().st_size
    starts = [0]
    with open(path, "rb") as file:
        while starts[-1] + step < size:
            found = next(find_all(file, AFTER_RECORD + RECORD, starts[-1] + step, None), None)
            if found is None:
                break
            starts.append(found + len(AFTER_RECORD))
    return starts


def _is_gzipped_as_a_whole(path: Path) -> bool:
    """Whether the first member holds something else than one record. GlideError where it is no part of a WARC file."""
    decompressor = zlib.decompressobj(wbits=31)
    border = AFTER_RECORD + RECORD
    seen = b""
    with open(path, "rb") as file:
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


def _unpack(path: Path, target: Path) -> Path:
    """Decompresses a file, as far as it can be read."""
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    decompressor = zlib.decompressobj(wbits=31)
    with open(path, "rb") as packed, open(partial, "wb") as plain:
        try:
            while block := packed.read(BLOCK):
                while block:
                    plain.write(decompressor.decompress(block))
                    block = decompressor.unused_data.lstrip(b"\0")  # padding
                    if decompressor.eof:
                        decompressor = zlib.decompressobj(wbits=31)
        except zlib.error:
            pass  # what could be unpacked ends in a truncated record, which the reader counts
    os.replace(partial, target)
    return target
