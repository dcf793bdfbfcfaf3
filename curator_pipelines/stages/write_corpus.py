"""The finished corpus in shards, in the order of document ids: the same bytes however the work was shared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import FileGroupTask

from curator_pipelines.index import MEMORY, connect, lost_path, read_parquet, work_of
from curator_pipelines.schemas import SCHEMA
from curator_pipelines.shards import ROW_GROUP, SHARD_BYTES, write_shards
from curator_pipelines.stages.hold_out import HELDOUT, TRAIN, HoldOut
from curator_pipelines.stages.partition_files import numbered


@dataclass
class WriteCorpus(ProcessingStage[FileGroupTask, FileGroupTask]):
    """Joins the documents that are left with their text and writes `train/` and `heldout/`.

    Ids are hashes, so their order is a shuffle that every run repeats.
    """

    out: str
    output_format: str = "parquet"
    shard_bytes: int = SHARD_BYTES
    name: str = "write_corpus"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], []

    def process(self, task: FileGroupTask) -> FileGroupTask:
        for split in (TRAIN, HELDOUT):
            documents = _documents(work_of(task), split, task._metadata[MEMORY])
            write_shards(Path(self.out) / split, SCHEMA, documents, self.output_format, self.shard_bytes)
        return task


def _documents(work: Path, split: str, memory_mb: int) -> Iterator[pa.RecordBatch]:
    with connect(work, memory_mb) as database:
        yield from database.sql(
            f"""
            SELECT {", ".join(SCHEMA.names)}
            FROM {read_parquet(numbered(work))}
            JOIN (
                SELECT number, partition, "row" FROM {read_parquet(lost_path(work, HoldOut.name))}
                WHERE split = '{split}'
            ) USING (partition, "row")
            ORDER BY number
            """
        ).to_arrow_reader(ROW_GROUP)
