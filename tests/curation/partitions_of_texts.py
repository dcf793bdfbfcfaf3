"""Texts through fingerprinting and the corpus stages, as a curation takes its documents, without the pages before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch, FileGroupTask

from curator_pipelines.index import build_index, corpus_task, index_path, lost_path
from curator_pipelines.ledger import FUNNEL, conclude
from curator_pipelines.stages.fingerprint import Fingerprint
from curator_pipelines.stages.partition_files import WritePartition

FINGERPRINT = (5, 24, 8, 1)


def write_texts(work: Path, texts: Sequence[str], partitions: int = 1) -> None:
    """Partitions of documents whose ids are the numbers of the texts."""
    work.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame({"id": [f"{number:08d}" for number in range(len(texts))], "url": "", "text": list(texts)})
    frame["bytes"] = frame["text"].map(lambda text: len(text.encode()))
    for partition in range(partitions):
        rows = frame.iloc[partition::partitions].reset_index(drop=True)
        batch = DocumentBatch("texts", rows, _metadata={"partition": partition, "records": {}, FUNNEL: []})
        batch = Fingerprint(*FINGERPRINT).process(conclude(batch, "crawled", rows))
        WritePartition(str(work)).process(batch)


def run_stages(work: Path, *stages: ProcessingStage, memory_mb: int = 256) -> FileGroupTask:
    build_index(work, memory_mb)
    task = corpus_task("texts", work, memory_mb)
    for stage in stages:
        task = stage.process(task)
    return task


def lost_to(work: Path, stage: str) -> pd.DataFrame:
    """What a stage took out: number, reason, score, id."""
    ids = pq.read_table(index_path(work), columns=["id"]).to_pandas()["id"]
    lost = pq.read_table(lost_path(work, stage)).to_pandas()
    return lost.assign(id=ids.iloc[lost["number"]].to_list())
