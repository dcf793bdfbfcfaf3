"""Near deduplication: MinHash LSH bands joined in DuckDB, pairs compared by n-grams, the longest document stays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numba
import numpy as np
import pyarrow as pa
from duckdb import DuckDBPyConnection
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import FileGroupTask

from curator_pipelines.index import (
    CORPUS,
    LOST,
    LOST_SCHEMA,
    MEMORY,
    conclude_stage,
    connect,
    left,
    lost_path,
    read_parquet,
    save,
    save_batches,
    work_of,
)
from curator_pipelines.sketch import find, jaccard, keepers
from curator_pipelines.stages.partition_files import BANDS, numbered, sketches_path

CHUNK = 10_000  # pairs, or documents, compared at a time
OPEN_FILES = 200
NEIGHBOURS = 4  # of each document in a bucket, compared with it; see _candidates
LOCATION = "partition, sketch_start, sketch_size"


@dataclass
class DropNearDuplicates(ProcessingStage[FileGroupTask, FileGroupTask]):
    """Documents alike by at least `threshold` (Jaccard of their word n-grams) are one; its longest copy stays.

    Two documents are compared where they agree in all rows of one of `bands` bands. In memory are 40 bytes a document
    and what DuckDB may hold. Candidates are kept for each band, so a killed run does not look for them again.
    Source: Broder, 1997; banding as in Leskovec et al., Mining of Massive Datasets, section 3.4.
    """

    threshold: float
    bands: int
    name: str = "near_duplicates"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], []

    def process(self, task: FileGroupTask) -> FileGroupTask:
        work, metadata = work_of(task), task._metadata
        if not lost_path(work, self.name).exists():
            with connect(work, metadata[MEMORY]) as database:
                documents = left(work, metadata[LOST])
                parent = self._components(database, work, documents)
                losses = _losses(database, work, documents, parent)
                save_batches(losses, LOST_SCHEMA, lost_path(work, self.name))
        return conclude_stage(task, self.name)

    def _components(self, database: DuckDBPyConnection, work: Path, documents: str) -> np.ndarray:
        """The parent of each document in a forest whose trees are the components, shape (documents of the index,)."""
        _candidates(database, work, documents, self.bands)
        ((total,),) = database.sql(f"SELECT coalesce(max(number), -1) + 1 FROM {documents}").fetchall()
        parent = np.arange(total, dtype=np.int64)
        for pairs in _pairs(database, candidates_path(work, "*"), documents):
            sketches, first, other = _sketches(work, pairs)
            _join(parent, *_flat(sketches), first, other, *_numbers(pairs), self.threshold)
        return parent


def candidates_path(work: Path, band: int | str) -> Path:
    return work / CORPUS / f"candidates_{band}.parquet"


def _candidates(database: DuckDBPyConnection, work: Path, documents: str, bands: int) -> None:
    """For each band a file of pairs (first, other) that meet in it.

    A document of a bucket is paired with the bucket's first and with the `NEIGHBOURS` before it: a page repeated n
    times makes a multiple of n pairs, not n squared. Where a bucket mixes documents that are not alike, others of the
    bands bring together those that are.
    """
    database.execute(f'CREATE TEMP TABLE standing AS SELECT number, partition, "row" FROM {documents}')
    before = ", ".join(f"lag(number, {step}) OVER bucket" for step in range(1, NEIGHBOURS + 1))
    for band in range(bands):
        if candidates_path(work, band).exists():
            continue
        save(
            database,
            f"""
            SELECT DISTINCT first, other FROM (
                SELECT unnest(firsts) AS first, number AS other FROM (
                    SELECT number, [first_value(number) OVER bucket, {before}] AS firsts
                    FROM standing JOIN {read_parquet(numbered(work / BANDS))} USING (partition, "row")
                    WINDOW bucket AS (PARTITION BY band_{band} ORDER BY number)
                )
            ) WHERE first < other
            """,
            candidates_path(work, band),
        )
    database.execute("DROP TABLE standing")


def _pairs(database: DuckDBPyConnection, files: Path, documents: str) -> Iterator[pa.RecordBatch]:
    """Pairs of documents, sorted, with the places of both sketches: first, other, and the columns of LOCATION twice."""
    located = f"(SELECT number, {LOCATION} FROM {documents})"
    yield from database.sql(
        f"""
        SELECT first, other, l.partition, l.sketch_start, l.sketch_size, r.partition, r.sketch_start, r.sketch_size
        FROM (SELECT DISTINCT first, other FROM {read_parquet(files)}) AS pairs
        JOIN {located} AS l ON pairs.first = l.number
        JOIN {located} AS r ON pairs.other = r.number
        ORDER BY first, other
        """
    ).to_arrow_reader(CHUNK)


def _losses(database: DuckDBPyConnection, work: Path, documents: str, parent: np.ndarray) -> Iterator[pa.RecordBatch]:
    """Each document that another one of its component stays for, with the similarity of the two."""
    sizes = np.zeros(len(parent), dtype=np.int64)
    for batch in database.sql(f"SELECT number, bytes FROM {documents}").to_arrow_reader(100_000):
        sizes[batch["number"].to_numpy()] = batch["bytes"].to_numpy()
    stays = keepers(parent, sizes)
    gone = np.flatnonzero(stays != np.arange(len(stays)))
    table = work / CORPUS / "kept_for.parquet"
    schema = pa.schema([("first", pa.int64()), ("other", pa.int64())])
    chunks = (gone[start : start + CHUNK] for start in range(0, len(gone), CHUNK))
    batches = (pa.record_batch([pa.array(stays[chunk]), pa.array(chunk)], schema=schema) for chunk in chunks)
    save_batches(batches, schema, table)
    scored = work / CORPUS / "scored.parquet"
    save_batches(_scored(database, work, table, documents), LOST_SCHEMA, scored)
    yield from database.sql(f"FROM {read_parquet(scored)} ORDER BY number").to_arrow_reader(CHUNK)


def _scored(database: DuckDBPyConnection, work: Path, table: Path, documents: str) -> Iterator[pa.RecordBatch]:
    for pairs in _pairs(database, table, documents):
        sketches, first, other = _sketches(work, pairs)
        alike = [jaccard(sketches[left_], sketches[right]) for left_, right in zip(first, other, strict=True)]
        reasons = ["near_duplicate"] * len(alike)
        columns = [pairs.column(1), pa.array(reasons), pa.array(np.round(alike, 4), pa.float64())]
        yield pa.record_batch(columns, schema=LOST_SCHEMA)


def _numbers(pairs: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
    return pairs.column(0).to_numpy(), pairs.column(1).to_numpy()


def _sketches(work: Path, pairs: pa.RecordBatch) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """The sketches of the documents in a chunk of pairs, each read once; which of them each side of a pair is."""
    left_numbers, right_numbers = _numbers(pairs)
    numbers, places = np.unique(np.concatenate([left_numbers, right_numbers]), return_index=True)
    sides = [[column.to_numpy() for column in pairs.columns[start : start + 3]] for start in (2, 5)]
    located = np.stack([np.concatenate([left_, right]) for left_, right in zip(*sides, strict=True)], axis=1)[places]
    sketches = [_read(work, *(int(value) for value in row)) for row in located]
    return sketches, np.searchsorted(numbers, left_numbers), np.searchsorted(numbers, right_numbers)


def _read(work: Path, partition: int, start: int, size: int) -> np.ndarray:
    return np.frombuffer(os.pread(_opened(work, partition).fileno(), size, start), dtype=np.uint32)


@lru_cache(OPEN_FILES)
def _opened(work: Path, partition: int):  # noqa: ANN202 - a file, closed when it falls out of the cache
    return open(sketches_path(work, partition), "rb")


def _flat(sketches: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    ends = np.cumsum([0, *(len(sketch) for sketch in sketches)])
    return np.concatenate(sketches), ends


@numba.njit(cache=True)
def _join(
    parent: np.ndarray,
    flat: np.ndarray,
    ends: np.ndarray,
    first: np.ndarray,
    other: np.ndarray,
    left_numbers: np.ndarray,
    right_numbers: np.ndarray,
    threshold: float,
) -> None:
    """Joins the components of each pair that is alike. A pair that is in one already is not compared."""
    for pair in range(len(first)):
        a, b = find(parent, left_numbers[pair]), find(parent, right_numbers[pair])
        if a == b:
            continue
        left_, right = first[pair], other[pair]
        if jaccard(flat[ends[left_] : ends[left_ + 1]], flat[ends[right] : ends[right + 1]]) >= threshold:
            parent[max(a, b)] = min(a, b)
