"""Rows to numbered files of bounded size, parquet or JSONL.zst: the same bytes wherever their batches end."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROW_GROUP = 1000  # rows at most
GROUP_BYTES = 32 << 20  # of strings, from which a row group is closed: what is in memory at once
SHARD_ROWS = 20_000  # about 60 MB of web text
SHARD_BYTES = 256_000_000  # of strings, from which a shard is closed


def write_shards(
    folder: Path,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    output_format: str = "parquet",
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes rows to `00000.parquet` (or `.jsonl.zst`) and on, at least one file. Each appears when whole."""
    folder.mkdir(parents=True, exist_ok=True)
    open_writer = {"parquet": _parquet, "jsonl.zst": _jsonl}[output_format]
    groups = row_groups(schema, batches)
    group = next(groups, schema.empty_table())
    shard = 0
    while group is not None:
        path = folder / f"{shard:05d}.{output_format}"
        partial = folder / f".{path.name}.partial"
        with open_writer(partial, schema) as write:
            rows = size = 0
            while group is not None and rows < SHARD_ROWS and (not rows or size + _bytes(group) <= shard_bytes):
                write(group)
                rows += ROW_GROUP
                size += _bytes(group)
                group = next(groups, None)
        os.replace(partial, path)
        shard += 1


def row_groups(schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Tables of `ROW_GROUP` rows, or of fewer that hold `GROUP_BYTES`; the last holds what is left."""
    waiting = schema.empty_table()
    for batch in batches:
        waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch]).cast(schema)]).combine_chunks()
        while end := _end(waiting):
            yield waiting.slice(0, end).combine_chunks()
            waiting = waiting.slice(end)
    if waiting.num_rows:
        yield waiting.combine_chunks()


def _end(table: pa.Table) -> int:
    """Rows of the first row group; 0 where the table does not fill one."""
    full = np.cumsum(_row_bytes(table)) >= GROUP_BYTES
    by_bytes = int(full.argmax()) + 1 if full.any() else ROW_GROUP
    end = min(by_bytes, ROW_GROUP)
    return end if end <= table.num_rows else 0


def _row_bytes(table: pa.Table) -> np.ndarray:
    sizes = np.zeros(table.num_rows, dtype=np.int64)
    for column in table.columns:
        if pa.types.is_string(column.type):
            sizes += pc.fill_null(pc.binary_length(column), 0).to_numpy()
    return sizes


def _bytes(table: pa.Table) -> int:
    return int(_row_bytes(table).sum())


@contextlib.contextmanager
def _parquet(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        yield lambda table: writer.write_table(table, ROW_GROUP)


@contextlib.contextmanager
def _jsonl(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """One object a line, with every column of the schema, in its order."""
    import zstandard

    with open(path, "wb") as file, zstandard.ZstdCompressor(level=3, threads=0).stream_writer(file) as packed:

        def write(table: pa.Table) -> None:
            for row in table.to_pylist():
                packed.write(json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n")

        yield write
