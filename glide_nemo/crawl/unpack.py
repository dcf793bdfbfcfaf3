"""Streams what is compressed by gzip, zstd or bzip2: any number of members, bounded memory, damage told, not raised."""

from __future__ import annotations

import bz2
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from glide_nemo.crawl.locate import open_binary

GZIP, ZSTD, BZIP2 = "gzip", "zstd", "bzip2"
MAGIC = {GZIP: b"\x1f\x8b", ZSTD: b"\x28\xb5\x2f\xfd", BZIP2: b"BZh"}
BLOCK = 1 << 16
PIECE = 1 << 20  # what is unpacked at a time
ZSTD_INPUT = 1 << 8  # zstd cannot be told to stop: a block of 128 kB takes 4 bytes, so this unpacks to 8 MB at most
ZSTD_WINDOW = 1 << 27  # bytes; what `zstd --long` asks for
MAX_INFLATION = 100  # times; text shrinks to a fifth, logs to a fiftieth
ALLOWED_ANYWAY = 64 << 20  # bytes, however small the file
TOO_FAR = "inflates_too_far"


class Damaged(Exception):
    """Compressed data that cannot be read any further; the message is the reason: `truncated` or `corrupt_<format>`."""


def compression_of(start: bytes) -> str:
    """`gzip`, `zstd`, `bzip2`, or "" for what is not compressed by any of them."""
    return next((name for name, magic in MAGIC.items() if start.startswith(magic)), "")


def pieces(file: BinaryIO, compression: str) -> Iterator[bytes]:
    """What a file holds, unpacked, in order. Damaged where it ends early or is corrupt, after what could be read."""
    if not compression:
        while piece := file.read(PIECE):
            yield piece
        return
    member, begun = _Member(compression), False
    while block := file.read(ZSTD_INPUT if compression == ZSTD else BLOCK):
        while block:
            if not begun and not (block := block.lstrip(b"\0")):  # padding between members
                break
            begun = True
            try:
                yield from member.feed(block)
            except Exception as error:  # zlib.error, OSError or ZstdError: each library its own
                raise Damaged(f"corrupt_{compression}") from error
            block = member.unused
            if member.ended:
                member, begun = _Member(compression), False
    if begun:
        raise Damaged("truncated")


class _Member:
    """One compressed stream of a file that may hold several. `unused` is the input that belongs to the next."""

    def __init__(self, compression: str) -> None:
        self._compression = compression
        self._stream: Any
        if compression == GZIP:
            self._stream = zlib.decompressobj(wbits=31)
        elif compression == BZIP2:
            self._stream = bz2.BZ2Decompressor()
        else:
            import zstandard

            self._stream = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()

    @property
    def ended(self) -> bool:
        return self._stream.eof

    @property
    def unused(self) -> bytes:
        return self._stream.unused_data if self.ended else b""

    def feed(self, block: bytes) -> Iterator[bytes]:
        """What a block of input unpacks to, in pieces of bounded size."""
        stream = self._stream
        if self._compression == ZSTD:
            yield stream.decompress(block)
        elif self._compression == GZIP:
            while block and not stream.eof:
                yield stream.decompress(block, PIECE)
                block = stream.unconsumed_tail
        else:  # bz2 keeps the input that it has not used
            yield stream.decompress(block, PIECE)
            while not stream.eof and not stream.needs_input:
                yield stream.decompress(b"", PIECE)


def head(path: str | os.PathLike[str], length: int) -> tuple[str, bytes]:
    """How a file is compressed, and the first `length` bytes of what it holds, as far as they can be read."""
    content = bytearray()
    with open_binary(path) as file:
        compression = compression_of(file.read(4))
        file.seek(0)
        try:
            for piece in pieces(file, compression):
                content += piece
                if len(content) >= length:
                    break
        except Damaged:
            pass
    return compression, bytes(content[:length])


def unpack(path: str | os.PathLike[str], compression: str, target: Path) -> tuple[Path, str]:
    """Unpacks a file beside `target`, as far as it can be read; returns where it lies and what was wrong with it.

    What was wrong stands in its name, so that a second call finds both. What inflates more than `MAX_INFLATION` times
    is cut there (`inflates_too_far`): neither memory nor disk is spent on a bomb.
    """
    for done in target.parent.glob(f"{target.name}.*"):
        return done, done.suffix.removeprefix(".").removeprefix("whole")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial, problem, written = target.with_name(f".{target.name}.partial"), "", 0
    with open_binary(path) as packed, open(partial, "wb") as plain:
        try:
            for piece in pieces(packed, compression):
                plain.write(piece)
                written += len(piece)
                if written > max(ALLOWED_ANYWAY, packed.tell() * MAX_INFLATION):
                    raise Damaged(TOO_FAR)
        except Damaged as damage:
            problem = str(damage)
    final = target.with_name(f"{target.name}.{problem or 'whole'}")
    os.replace(partial, final)
    return final, problem
