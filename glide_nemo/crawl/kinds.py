"""What a file of the input is, told by its content first and by its name where content leaves it open."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

from glide_nemo.crawl.locate import Located
from glide_nemo.crawl.unpack import head
from glide_nemo.errors import GlideError

WARC, WET, JSONL, PARQUET, WIKIPEDIA, TEXT = "warc", "wet", "jsonl", "parquet", "wikipedia", "text"
HEAD = 1 << 16
BY_NAME = {
    ".jsonl": JSONL, ".ndjson": JSONL, ".json": JSONL, ".txt": TEXT, ".text": TEXT, ".md": TEXT, ".rst": TEXT,
}  # fmt: skip
PACKED = (".gz", ".zst", ".bz2")
READABLE = "WARC, WET, JSONL, parquet, Wikipedia dumps, .txt and .md can be read, plain or in gzip, zstd or bzip2"


def tell(file: Located) -> tuple[str, str]:
    """A file's kind and how it is compressed. GlideError for one that is empty or of no kind that can be read."""
    compression, start = head(file.path, HEAD)
    if not start and not compression:
        raise GlideError(f"empty file, {file.path}: leave it out, or write it again")
    # Of a packed file so damaged that nothing comes out, the name has to do: what is lost is counted when it is read.
    kind = by_content(start) or BY_NAME.get(_suffix(file.name), "")
    if not kind:
        raise GlideError(f"{file.path} is of no kind that can be read, it begins with {start[:8]!r}: {READABLE}")
    if kind == PARQUET and compression:
        raise GlideError(f"{file.path} is a parquet file inside {compression}: unpack it first")
    return kind, compression


def by_content(start: bytes) -> str:
    """The kind that the first bytes of a file show, "" where they fit none."""
    if start.startswith(b"WARC/"):
        # A WET file holds text that was extracted before; a crawler's WARC may have a few such records beside pages.
        return WET if b"WARC-Type: conversion" in start and b"WARC-Type: response" not in start else WARC
    if start.startswith(b"PAR1"):
        return PARQUET
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<mediawiki"):
        return WIKIPEDIA
    line, ended, _ = text.partition(b"\n")
    if line.startswith(b"{"):
        try:
            return JSONL if isinstance(json.loads(line), dict) else ""
        except (ValueError, RecursionError):
            # The first line may be longer than what was read.
            return JSONL if not ended and len(start) == HEAD and line[1:].lstrip().startswith(b'"') else ""
    return ""


def _suffix(name: str) -> str:
    path = PurePosixPath(name.lower())
    return path.with_suffix("").suffix if path.suffix in PACKED else path.suffix
