"""What the second half of a curation knows of all documents: parquet files in one folder, joined by DuckDB on disk.

No process holds the corpus. `index.parquet` numbers the documents in the order of their ids; each corpus stage adds one
file of the numbers that it takes out, and why. Every file appears when whole, so a killed run keeps those it has.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from nemo_curator.tasks import FileGroupTask

from curator_pipelines.ledger import COUNTS, FUNNEL
from curator_pipelines.stages.partition_files import numbered

CORPUS = "corpus"  # folder of these files, in the one of the partitions
LOST = "lost"  # of a task's metadata: the stages that took documents out so far
MEMORY = "memory_mb"  # of a task's metadata: what DuckDB may hold, in megabytes; it sorts and joins on disk beyond it
LOST_SCHEMA = pa.schema([("number", pa.int64()), ("reason", pa.string()), ("score", pa.float64())])
ROW_GROUP = 50_000


def corpus_task(name: str, work: Path, memory_mb: int) -> FileGroupTask:
    """What a pipeline of corpus stages starts from."""
    return FileGroupTask(name, [str(work)], _metadata={MEMORY: memory_mb, LOST: [], FUNNEL: [], COUNTS: {}})


def work_of(task: FileGroupTask) -> Path:
    return Path(task.data[0])


def index_path(work: Path) -> Path:
    return work / CORPUS / "index.parquet"


def lost_path(work: Path, stage: str) -> Path:
    return work / CORPUS / f"{stage}.parquet"


@contextlib.contextmanager
def connect(work: Path, memory_mb: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database that holds `memory_mb` in memory, and the rest in files that go with the connection."""
    (work / CORPUS).mkdir(parents=True, exist_ok=True)
    spill = work / CORPUS / "spill"
    with duckdb.connect(config={"memory_limit": f"{memory_mb}MB", "temp_directory": str(spill)}) as database:
        yield database


def build_index(work: Path, memory_mb: int) -> None:
    """Numbers all documents in the order of (id, partition, row): where files were cut decides nothing after it."""
    if index_path(work).exists():
        return
    with connect(work, memory_mb) as database:
        columns = 'id, url, bytes, text_hash, partition, "row", sketch_start, sketch_size'
        save(
            database,
            f'SELECT {columns} FROM {read_parquet(numbered(work))} ORDER BY id, partition, "row"',
            index_path(work),
        )


def read_parquet(pattern: str | Path, options: str = "") -> str:
    """SQL for a table in parquet files."""
    quoted = str(pattern).replace("'", "''")
    return f"read_parquet('{quoted}', hive_partitioning = false{options})"


def left(work: Path, lost: list[str], columns: str = "*") -> str:
    """SQL: the documents of the index that no stage in `lost` took, with their `number`."""
    index = read_parquet(index_path(work), ", file_row_number = true")
    all_ = f"(SELECT file_row_number AS number, * EXCLUDE (file_row_number) FROM {index})"
    gone = "".join(f" ANTI JOIN {read_parquet(lost_path(work, stage))} USING (number)" for stage in lost)
    return f"(SELECT {columns} FROM {all_}{gone})"


def save(database: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    """The rows of a query as a parquet file, which appears when whole."""
    partial = path.with_name(f".{path.name}.partial")
    quoted = str(partial).replace("'", "''")
    database.execute(f"COPY ({query}) TO '{quoted}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP})")
    os.replace(partial, path)


def save_batches(batches: Iterator[pa.RecordBatch], schema: pa.Schema, path: Path) -> None:
    """The same, of rows that Python made."""
    partial = path.with_name(f".{path.name}.partial")
    with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
    os.replace(partial, path)


def conclude_stage(task: FileGroupTask, stage: str, *, took: bool = True) -> FileGroupTask:
    """The task that a corpus stage hands on: what it took (`lost_path`) and what is left added to the ledger."""
    work, metadata = work_of(task), task._metadata
    lost = [*metadata[LOST], *([stage] if took else [])]
    with connect(work, metadata[MEMORY]) as database:
        ((documents, size),) = database.sql(
            f"SELECT count(*), coalesce(sum(bytes), 0) FROM {left(work, lost, 'bytes')}"
        ).fetchall()
    funnel = [*metadata[FUNNEL], (stage, int(documents), int(size))]
    return FileGroupTask(task.dataset_name, task.data, task._stage_perf, {**metadata, LOST: lost, FUNNEL: funnel})
