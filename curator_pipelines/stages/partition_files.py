"""Between the two halves of a curation: each partition's documents on disk, so that a killed run keeps them."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch, FileGroupTask

from curator_pipelines.ledger import CONTAMINATION, COUNTS, FUNNEL, REJECTIONS, SCORES, Rejection, conclude
from glide_nemo.artifact import write_atomically

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("url", pa.string()),
        ("source", pa.string()),
        ("language", pa.string()),
        ("license", pa.string()),
        *((name, pa.type_for_alias(kind)) for name, kind in SCORES.items()),
        ("bytes", pa.int64()),
        ("text_hash", pa.binary(16)),
        ("signature", pa.binary()),
        ("partition", pa.int32()),
        ("row", pa.int32()),
    ]
)
INDEX = [name for name in SCHEMA.names if name not in ("text", "source", "language", "license", *SCORES)]


def documents_path(folder: Path, partition: int) -> Path:
    return folder / f"{partition:06d}.parquet"


def record_path(folder: Path, partition: int) -> Path:
    """The partition's ledger and counts; written last, so its presence says that the partition is done."""
    return folder / f"{partition:06d}.json"


@dataclass
class WritePartition(ProcessingStage[DocumentBatch, FileGroupTask]):
    """A partition's documents to parquet and its ledger to JSON; hands on the names of both."""

    folder: str
    name: str = "write_partition"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["id", "text", "text_hash", "signature"]

    def process(self, task: DocumentBatch) -> FileGroupTask:
        metadata = task._metadata
        partition = metadata["partition"]
        documents = documents_path(Path(self.folder), partition)
        frame = task.to_pandas().assign(partition=partition, row=range(task.num_items)).reindex(columns=SCHEMA.names)
        partial = documents.with_name(f".{documents.name}.partial")
        pq.write_table(pa.Table.from_pandas(frame, SCHEMA, preserve_index=False), partial, compression="zstd")
        os.replace(partial, documents)
        seconds = {stats.stage_name: stats.process_time for stats in task._stage_perf}
        record = {
            REJECTIONS: [dataclasses.astuple(rejection) for rejection in metadata[REJECTIONS]],
            CONTAMINATION: [dataclasses.astuple(row) for row in metadata[CONTAMINATION]],
            FUNNEL: metadata[FUNNEL],
            COUNTS: metadata[COUNTS],
            "records": metadata["records"],
            "seconds": seconds,
        }
        record_file = record_path(Path(self.folder), partition)
        write_atomically(record_file, json.dumps(record))
        return FileGroupTask(task.dataset_name, [str(documents)], task._stage_perf, {"partition": partition})


@dataclass
class ReadPartitions(ProcessingStage[FileGroupTask, DocumentBatch]):
    """The documents of every partition, without their text, as one batch: what deduplication needs to see together."""

    name: str = "read_partitions"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], []

    def outputs(self) -> tuple[list[str], list[str]]:
        return ["data"], INDEX

    def process(self, task: FileGroupTask) -> DocumentBatch:
        tables = [pq.read_table(path, columns=INDEX) for path in task.data]
        frame = pa.concat_tables(tables).to_pandas()
        # The order of ids, not of files, decides from here on; the same page recorded twice has one id.
        frame = frame.sort_values(["id", "partition", "row"], kind="stable").reset_index(drop=True)
        batch = DocumentBatch(task.dataset_name, frame, task._stage_perf, task._metadata)
        return conclude(batch, self.name, frame)


def rejections_of(frame: pd.DataFrame, stage: str, reason: str, scores: pd.Series | None = None) -> list[Rejection]:
    """Ledger rows for documents of the index that leave for one reason."""
    values = [None] * len(frame) if scores is None else [float(score) for score in scores]
    rows = zip(frame["id"], frame["url"], frame["bytes"], values, strict=True)
    return [Rejection(id_, url, stage, reason, value, int(size)) for id_, url, size, value in rows]
