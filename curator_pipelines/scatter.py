"""Texts into the order of document numbers in two passes over the disk, since sorting them in DuckDB outgrows memory.

DuckDB 2.0 sorts rows of text up to about twice its memory limit and then stops; joins and sorts of numbers go on. So
the first pass deals the rows out to files by ranges of numbers, and the second sorts each file by itself.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc as ipc

MAX_BUCKETS = 500  # files open at once
ROWS = 1000  # handed on at a time


def in_order(
    folder: Path, rows: Iterable[pa.RecordBatch], schema: pa.Schema, first: int, last: int, buckets: int
) -> Iterator[pa.RecordBatch]:
    """The rows, each with a `number` in `[first, last]`, sorted by it; the files in `folder` go when they are read.

    In memory is one bucket, twice: rows / `buckets` where numbers are spread evenly.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    buckets = max(1, min(buckets, MAX_BUCKETS, last - first + 1))
    paths = [folder / f"{bucket:05d}.arrow" for bucket in range(buckets)]
    options = ipc.IpcWriteOptions(compression="lz4")
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(ipc.new_stream(path, schema, options=options)) for path in paths]
        for batch in rows:
            bucket = (batch["number"].to_numpy() - first) * buckets // (last - first + 1)
            for present in np.unique(bucket):
                writers[present].write_batch(batch.filter(pa.array(bucket == present)))
    for path in paths:
        with ipc.open_stream(path) as reader:
            table = reader.read_all()
        yield from table.take(pc.sort_indices(table["number"])).to_batches(ROWS)
        path.unlink()
