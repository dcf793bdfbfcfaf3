"""Text documents of any kind of file to a batch: what ReadWarc and ExtractHtml are for web pages."""

from __future__ import annotations

import importlib
from collections import Counter
from dataclasses import dataclass

import pandas as pd
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch, FileGroupTask

from curator_pipelines.formats.document import Found
from curator_pipelines.ledger import FUNNEL, Rejection, conclude
from curator_pipelines.stages.read_warc import identify
from glide_nemo.crawl.kinds import JSONL, PARQUET, TEXT, WET, WIKIPEDIA

MODULES = {JSONL: "jsonl", PARQUET: "parquet", TEXT: "plain_text", WET: "wet", WIKIPEDIA: "wikipedia"}
COLUMNS = ["id", "url", "text", "source", "license", "bytes"]
BAD_LINES = ("invalid_json", "not_an_object", "undecodable_text", "line_too_large")


@dataclass
class ReadDocuments(ProcessingStage[FileGroupTask, DocumentBatch]):
    """One partition of a file, or of several text files, to a batch of documents.

    The task's `reader_config` is a Partition as a dictionary, with `source`, `license` (for documents that state none;
    with `license_of_all`, for all) and `fields` (the columns of tables).
    """

    max_document_bytes: int = 10_000_000
    name: str = "read_documents"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data", "reader_config"], []

    def outputs(self) -> tuple[list[str], list[str]]:
        return ["data"], COLUMNS

    def process(self, task: FileGroupTask) -> DocumentBatch:
        range_ = task.reader_config
        module = importlib.import_module(f"curator_pipelines.formats.{MODULES[range_['kind']]}")
        rows, lost = [], []
        for found in module.documents(range_, self.max_document_bytes):
            if isinstance(found, Found):
                content = found.text.encode("utf-8")
                license_ = range_["license"] if range_["license_of_all"] else found.license or range_["license"]
                id_ = identify(found.url, content)
                source = range_["source"] or found.url  # a text file is where its text comes from
                rows.append((id_, found.url, found.text, source, license_, len(content)))
            else:
                id_ = identify(found.url, found.content)
                lost.append(Rejection(id_, found.url, self.name, found.reason, found.score, found.bytes))
        frame = pd.DataFrame(rows, columns=COLUMNS).astype({"bytes": "int64"})
        crawled = ("crawled", len(rows) + len(lost), int(frame["bytes"].sum()) + sum(row.bytes for row in lost))
        read = {"partition": range_["index"], FUNNEL: [crawled], "records": {range_["kind"]: len(rows) + len(lost)}}
        batch = DocumentBatch(
            dataset_name=task.dataset_name,
            data=frame,
            _metadata={**task._metadata, **read},
            _stage_perf=task._stage_perf,
        )
        counts = Counter(bad_lines=sum(row.reason in BAD_LINES for row in lost), lines=len(rows) + len(lost))
        return conclude(batch, self.name, frame, lost, counts=counts if range_["kind"] == JSONL else None)
