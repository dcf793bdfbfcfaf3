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
        ranges, begun, size, row = [], 0, 0, 0
        for number in range(opened.metadata.num_row_groups):
            group = opened.metadata.row_group(number)
            if size and size + group.total_byte_size > step:
                ranges += _pieces(begun, row, size, step)
                begun, size = row, 0
            row += group.num_rows
            size += group.total_byte_size
        return [*ranges, *_pieces(begun, row, size, step)]


def _pieces(start: int, end: int, size: int, step: int) -> list[tuple[int, int]]:
    """Rows `[start, end)`, which hold `size` bytes, in ranges of about `step` bytes."""
    count = min(end - start, -(-size // step)) or min(1, end - start)
    return list(pairwise(start + (end - start) * piece // count for piece in range(count + 1))) if count else []


def documents(range_: Mapping[str, Any], max_bytes: int) -> Iterator[Found | Lost]:
    """Rows `[start, end)` as documents; of a damaged row group those that are left are lost as one."""
    with open_binary(range_["path"]) as file:
        opened = _open(file)
        first = 0
        for group in range(opened.metadata.num_row_groups):
            after = first + opened.metadata.row_group(group).num_rows
            start, end = max(first, range_["start"]), min(after, range_["end"])
            try:
                if start < end:
                    for row, values in _rows(opened, group, start - first, end - first, range_["fields"]):
                        yield _document(values, range_, row + first, max_bytes)
                        start = row + first + 1
            except (pa.ArrowException, OSError, UnicodeDecodeError):
                place = f"{range_['name']}#{start}"
                yield Lost(place, "corrupt_parquet", float(end - start), 0, place.encode())
            first = after


def _document(values: Mapping[str, Any], range_: Mapping[str, Any], row: int, max_bytes: int) -> Found | Lost:
    place = f"{range_['name']}#{row}"
    text = values.get(range_["fields"]["text_field"])
    size = len(text.encode("utf-8", "ignore")) if isinstance(text, str) else 0
    try:
        if size > max_bytes:
            raise Unusable("document_too_large", float(size))
        return row_document(values, range_["fields"], place)
    except Unusable as unusable:
        return Lost(place, unusable.reason, unusable.score, size, place.encode())


def _rows(
    opened: pq.ParquetFile, group: int, start: int, end: int, fields: Mapping[str, str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows `[start, end)` of a row group, by their number in it."""
    columns = [name for name in dict.fromkeys(fields.values()) if name in opened.schema_arrow.names]
    row = 0
    for batch in opened.iter_batches(BATCH, [group], columns=columns, use_threads=False):
        if row + len(batch) > start:
            skip = max(0, start - row)
            yield from enumerate(batch.slice(skip, end - row - skip).to_pylist(), row + skip)
        row += len(batch)
        if row >= end:
            return


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
