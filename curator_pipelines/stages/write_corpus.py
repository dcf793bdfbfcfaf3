"""The finished corpus as parquet shards, in the order of document ids: the same bytes however the work was shared."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.ledger import SCORES
from curator_pipelines.stages.hold_out import HELDOUT, TRAIN

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("url", pa.string()),
        ("source", pa.string()),
        ("language", pa.string()),
        ("license", pa.string()),
        *((name, pa.type_for_alias(kind)) for name, kind in SCORES.items()),
    ]
)
LEDGER_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("url", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("score", pa.float64()),
        ("bytes", pa.int64()),
    ]
)
CONTAMINATION_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("url", pa.string()),
        ("benchmark", pa.string()),
        ("item", pa.string()),
        ("span", pa.string()),
        ("overlap", pa.float64()),
        ("removed", pa.string()),
    ]
)
ROW_GROUP = 1000  # documents
SHARD = 20_000  # documents; about 60 MB of web text
MEMORY = "1GB"  # DuckDB sorts on disk beyond it


@dataclass
class WriteCorpus(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Joins the documents that are left with their text and writes `train/*.parquet` and `heldout/*.parquet`.

    Ids are hashes, so their order is a shuffle that every run repeats.
    """

    partitions: str  # folder of the partitions' parquet files
    out: str
    name: str = "write_corpus"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["id", "split", "partition", "row"]

    def process(self, task: DocumentBatch) -> DocumentBatch:
        left = task.to_pandas()[["partition", "row", "split"]]
        for split in (TRAIN, HELDOUT):
            chosen = pa.Table.from_pandas(left[left["split"] == split], preserve_index=False)
            write_shards(Path(self.out) / split, SCHEMA, self._documents(chosen))
        return task

    def _documents(self, chosen: pa.Table) -> Iterator[pa.RecordBatch]:
        with duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": self.partitions}) as database:
            database.register("chosen", chosen)
            yield from database.sql(
                f"""
                SELECT {", ".join(SCHEMA.names)}
                FROM read_parquet('{_quoted(self.partitions)}/*.parquet', hive_partitioning = false)
                JOIN chosen USING (partition, "row")
                ORDER BY id, partition, "row"
                """
            ).to_arrow_reader(ROW_GROUP)


def write_shards(folder: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    """Writes rows to `00000.parquet` and on, `SHARD` rows each, at least one file. Each appears when whole."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = _regrouped(schema, batches)
    shard = 0
    group = next(rows, schema.empty_table())
    while group is not None:
        path = folder / f"{shard:05d}.parquet"
        partial = folder / f".{path.name}.partial"
        with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
            written = 0
            while group is not None and written < SHARD:
                writer.write_table(group, ROW_GROUP)
                written += ROW_GROUP
                group = next(rows, None)
        os.replace(partial, path)
        shard += 1


def _regrouped(schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Tables of `ROW_GROUP` rows each but the last: where DuckDB ends its batches must not show in the files."""
    waiting = schema.empty_table()
    for batch in batches:
        waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch]).cast(schema)]).combine_chunks()
        while waiting.num_rows >= ROW_GROUP:
            yield waiting.slice(0, ROW_GROUP).combine_chunks()
            waiting = waiting.slice(ROW_GROUP)
    if waiting.num_rows:
        yield waiting.combine_chunks()


def _quoted(path: str) -> str:
    return path.replace("'", "''")
