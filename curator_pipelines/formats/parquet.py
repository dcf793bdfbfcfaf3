"""Parquet in ranges of rows, of which only the columns named are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from curator_pipelines.formats.document import Found, Lost, Unusable, row_document
from glide_nemo.crawl.locate import open_binary
from glide_nemo.errors import GlideError

BATCH = 256  # rows


def row_ranges(path: str, step: int, fields: Mapping[str, str]) -> list[tuple[int, int]]:
    """Ranges of rows that hold about `step` bytes each. GlideError where the file is broken or has no text column."""
    with open_binary(path) as file:
        try:
            opened = _open(file)
        except (pa.ArrowException, OSError) as error:
            raise GlideError(f"unreadable parquet file, {path}: it is damaged or cut short, write it again") from error
        _check(opened.schema_arrow, path, fields)
        metadata = opened.metadata
        ranges, row = [], 0
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            pieces = max(1, min(rows, -(-metadata.row_group(group).total_byte_size // step)))
            borders = [row + rows * piece // pieces for piece in range(pieces + 1)]
            ranges += list(pairwise(borders))
            row += rows
    return [(start, end) for start, end in ranges if start < end]


def documents(range_: Mapping[str, Any], max_bytes: int) -> Iterator[Found | Lost]:
    """Rows `[start, end)` as documents; of a damaged row group those that are left are lost as one."""
    start, end, name = range_["start"], range_["end"], range_["name"]
    row = start
    with open_binary(range_["path"]) as file:
        try:
            for row, values in _rows(_open(file), start, end, range_["fields"]):
                place = f"{name}#{row}"
                text = values.get(range_["fields"]["text_field"])
                size = len(text.encode("utf-8", "ignore")) if isinstance(text, str) else 0
                try:
                    if size > max_bytes:
                        raise Unusable("document_too_large", float(size))
                    yield row_document(values, range_["fields"], place)
                except Unusable as unusable:
                    yield Lost(place, unusable.reason, unusable.score, size, place.encode())
        except (pa.ArrowException, OSError, UnicodeDecodeError):
            yield Lost(f"{name}#{row}", "corrupt_parquet", float(end - row), 0, name.encode())


def _rows(
    opened: pq.ParquetFile, start: int, end: int, fields: Mapping[str, str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    columns = [name for name in dict.fromkeys(fields.values()) if name in opened.schema_arrow.names]
    first = 0
    for group in range(opened.metadata.num_row_groups):
        after = first + opened.metadata.row_group(group).num_rows
        row = first
        if first < end and after > start:
            for batch in opened.iter_batches(BATCH, [group], columns=columns, use_threads=False):
                if row + len(batch) > start:
                    skip = max(0, start - row)
                    yield from enumerate(batch.slice(skip, end - row - skip).to_pylist(), row + skip)
                row += len(batch)
                if row >= end:
                    return
        first = after


def _open(file: BinaryIO) -> pq.ParquetFile:
    return pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 16)  # pages as they are needed, not row groups


def _check(schema: pa.Schema, path: str, fields: Mapping[str, str]) -> None:
    names = ", ".join(schema.names[:12])
    text = fields["text_field"]
    if text not in schema.names:
        raise GlideError(f"no column '{text}' in {path}, it has {names}: name the text's with reader.text_field=")
    kind = schema.field(text).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise GlideError(f"column '{text}' of {path} holds {kind}, not text: name another with reader.text_field=")
