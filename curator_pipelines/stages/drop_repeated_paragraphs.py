"""The second pass of paragraph deduplication: each document rewritten without what other documents say before it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.ledger import Rejection, conclude, with_bytes
from curator_pipelines.stages.hash_paragraphs import SEPARATOR
from curator_pipelines.stages.paragraph_decisions import copies_path, dropped_path


@dataclass
class DropRepeatedParagraphs(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Takes out the paragraphs that were decided on, and documents that have fewer than `min_words` left by it."""

    folder: str  # of the first pass
    min_words: int
    name: str = "repeated_paragraphs"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["id", "url", "text", "bytes"]

    def process(self, batch: DocumentBatch) -> DocumentBatch:
        documents = batch.to_pandas()
        partition = batch._metadata["partition"]
        dropped = _rows_of(dropped_path(Path(self.folder)), partition)
        places = {row: set(of_row["place"]) for row, of_row in dropped.groupby("row")}
        copies = set(_rows_of(copies_path(Path(self.folder)), partition)["row"])
        texts = [_without(text, places.get(row, ())) for row, text in enumerate(documents["text"])]
        words = [len(text.split()) for text in texts]
        short = [row in places and words[row] < self.min_words for row in range(len(texts))]
        lost = [
            Rejection(id_, url, self.name, "exact_duplicate", None, int(size))
            if row in copies
            else Rejection(id_, url, self.name, "repeated_paragraphs", float(words[row]), int(size))
            for row, (id_, url, size) in enumerate(
                zip(documents["id"], documents["url"], documents["bytes"], strict=True)
            )
            if row in copies or short[row]
        ]
        # Of type bool also where there is no document: pandas takes an empty list for one of columns.
        stays = np.array([row not in copies and not short[row] for row in range(len(texts))], dtype=bool)
        kept = with_bytes(documents.assign(text=texts)[stays].reset_index(drop=True))
        boilerplate = int(dropped["boilerplate"].sum())
        counts = {"boilerplate": boilerplate, "later_copies": len(dropped) - boilerplate}
        return conclude(batch, self.name, kept, lost, counts=counts)


def _rows_of(path: Path, partition: int) -> pd.DataFrame:
    """The rows of one partition: the file is sorted, so few of its row groups are read."""
    return pq.read_table(path, filters=[("partition", "=", partition)]).to_pandas()


def _without(text: str, places: set[int] | tuple[()]) -> str:
    if not places:
        return text
    paragraphs = enumerate(text.split(SEPARATOR))
    return SEPARATOR.join(paragraph for place, paragraph in paragraphs if place not in places)
