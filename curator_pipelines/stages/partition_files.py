"""Between the two halves of a curation: each partition's documents on disk, so that a killed run keeps them."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch, FileGroupTask

from curator_pipelines.ledger import CONTAMINATION, COUNTS, FUNNEL, REJECTIONS
from curator_pipelines.schemas import CONTAMINATION_SCHEMA, DOCUMENT, LEDGER_SCHEMA
from glide_nemo.artifact import write_atomically

SCHEMA = pa.schema(
    [
        *DOCUMENT,
        ("bytes", pa.int64()),
        ("text_hash", pa.binary(16)),
        ("sketch_start", pa.int64()),  # bytes into the partition's file of sketches
        ("sketch_size", pa.int32()),  # bytes
        ("partition", pa.int32()),
        ("row", pa.int32()),
    ]
)
BANDS, SKETCHES, PARAGRAPHS = "bands", "sketches", "paragraphs"  # folders beside the documents
PARAGRAPH_SCHEMA = pa.schema(
    [("hash", pa.uint64()), ("partition", pa.int32()), ("row", pa.int32()), ("place", pa.int32())]
)


def documents_path(folder: Path, partition: int) -> Path:
    return folder / f"{partition:06d}.parquet"


def record_path(folder: Path, partition: int) -> Path:
    """The partition's funnel and counts; written last, so its presence says that the partition is done."""
    return folder / f"{partition:06d}.json"


def numbered(folder: Path) -> Path:
    """The pattern that all partitions' parquet files in a folder have."""
    return folder / "[0-9]*.parquet"


def sketches_path(folder: Path, partition: int) -> Path:
    return folder / SKETCHES / f"{partition:06d}.u32"


@dataclass
class WritePartition(ProcessingStage[DocumentBatch, FileGroupTask]):
    """A partition's documents, fingerprints and ledgers as files; hands on the documents' name."""

    folder: str
    name: str = "write_partition"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["id", "text"]

    def process(self, task: DocumentBatch) -> FileGroupTask:
        folder, metadata = Path(self.folder), task._metadata
        partition = metadata["partition"]
        frame = task.to_pandas().assign(partition=partition, row=range(task.num_items))
        if "sketch" in frame.columns:
            frame = _write_sketches(folder, partition, frame)
            _write(documents_path(folder / BANDS, partition), _bands(frame, metadata["bands"]))
        if "paragraphs" in frame.columns:
            _write(documents_path(folder / PARAGRAPHS, partition), _paragraphs(frame))
        documents = documents_path(folder, partition)
        _write(documents, pa.Table.from_pandas(frame.reindex(columns=SCHEMA.names), SCHEMA, preserve_index=False))
        for ledger, schema in ((REJECTIONS, LEDGER_SCHEMA), (CONTAMINATION, CONTAMINATION_SCHEMA)):
            rows = [dataclasses.asdict(row) for row in metadata[ledger]]
            _write(documents_path(folder / ledger, partition), pa.Table.from_pylist(rows, schema))
        record = {
            FUNNEL: metadata[FUNNEL],
            COUNTS: metadata[COUNTS],
            "records": metadata["records"],
            "node": _node(),
            "seconds": {stats.stage_name: stats.process_time for stats in task._stage_perf},
        }
        write_atomically(record_path(folder, partition), json.dumps(record))
        # What it took is in the record: a parent that keeps the results of a million partitions need not.
        return FileGroupTask(task.dataset_name, [str(documents)], [], {"partition": partition})


@dataclass
class ReadPartition(ProcessingStage[FileGroupTask, DocumentBatch]):
    """The documents of one partition that WritePartition wrote, for stages that need to know all others first."""

    name: str = "read_partition"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data", "reader_config"], []

    def process(self, task: FileGroupTask) -> DocumentBatch:
        frame = pq.read_table(task.data[0], columns=[*(name for name, _ in DOCUMENT), "bytes"]).to_pandas()
        metadata = {**task._metadata, **task.reader_config, "records": {}}
        ledgers = {REJECTIONS: [], CONTAMINATION: [], FUNNEL: [], COUNTS: {}}
        return DocumentBatch(task.dataset_name, frame, task._stage_perf, {**metadata, **ledgers})


def _node() -> str:
    """Where this process runs: the machine, and of several Ray nodes on one machine, which."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return platform.node()
    return f"{platform.node()}/{ray.get_runtime_context().get_node_id()[:8]}"


def _write(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    pq.write_table(table, partial, compression="zstd")
    os.replace(partial, path)


def _write_sketches(folder: Path, partition: int, frame: pd.DataFrame) -> pd.DataFrame:
    """The sketches end to end in a file of their own, so that any one is a single read; says where each lies."""
    path = sketches_path(folder, partition)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(b"".join(frame["sketch"]))
    os.replace(partial, path)
    sizes = np.array([len(sketch) for sketch in frame["sketch"]], dtype=np.int64)
    return frame.assign(sketch_start=np.cumsum(sizes) - sizes, sketch_size=sizes)


def _bands(frame: pd.DataFrame, bands: int) -> pa.Table:
    """A column for each band, so that a join reads one of them."""
    keys = np.frombuffer(b"".join(frame["bands"]), dtype=np.uint64).reshape(len(frame), bands)
    columns = {name: pa.array(frame[name].to_numpy(dtype=np.int32)) for name in ("partition", "row")}
    columns |= {f"band_{band}": pa.array(keys[:, band]) for band in range(bands)}
    return pa.table(columns)


def _paragraphs(frame: pd.DataFrame) -> pa.Table:
    hashes = [np.frombuffer(hashed, dtype=np.uint64) for hashed in frame["paragraphs"]]
    counts = [len(of_document) for of_document in hashes]
    columns = {
        "hash": np.concatenate([*hashes, np.empty(0, dtype=np.uint64)]),
        "partition": np.repeat(frame["partition"].to_numpy(dtype=np.int32), counts),
        "row": np.repeat(frame["row"].to_numpy(dtype=np.int32), counts),
        "place": np.concatenate([np.arange(count, dtype=np.int32) for count in [*counts, 0]]),
    }
    counted = columns["hash"] != 0  # 0: too short
    return pa.table({name: values[counted] for name, values in columns.items()}, PARAGRAPH_SCHEMA)
