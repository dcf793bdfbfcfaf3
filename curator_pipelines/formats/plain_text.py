"""Text files, a file a document, packed or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from curator_pipelines.formats.document import Found, Lost, Unusable, decode_text
from glide_nemo.crawl.locate import open_binary
from glide_nemo.crawl.unpack import Damaged, pieces


def documents(range_: Mapping[str, Any], max_bytes: int) -> Iterator[Found | Lost]:
    """The range's files; no more of one than `max_bytes` is held in memory, whatever it unpacks to."""
    for path, name, compression in range_["files"]:
        content = bytearray()
        try:
            _read(path, compression, content, max_bytes)
            yield Found(name, decode_text(bytes(content)))
        except Unusable as unusable:
            yield Lost(name, unusable.reason, unusable.score, len(content), bytes(content))


def _read(path: str, compression: str, content: bytearray, max_bytes: int) -> None:
    with open_binary(path) as file:
        try:
            for piece in pieces(file, compression):
                content += piece
                if len(content) > max_bytes:
                    raise Unusable("document_too_large", float(len(content)))
        except Damaged as damage:
            raise Unusable(str(damage), float(len(content))) from damage
