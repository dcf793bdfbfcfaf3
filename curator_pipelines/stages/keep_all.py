"""A run of heuristic filters in one pass: a document meets them in order and leaves for the first that it fails.

One stage instead of one a filter, since what filters look at (words, lines, n-grams) is then computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.stages.text.filters import DocumentFilter
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.filters.shared import SharedFilter
from curator_pipelines.ledger import Rejection, conclude
from curator_pipelines.view import View


@dataclass
class KeepAll(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Keeps the documents that every one of `rules`, (reason, filter), keeps. Filters of Curator's own do as well."""

    rules: Sequence[tuple[str, DocumentFilter]]
    name: str = "quality"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["id", "url", "text", "bytes"]

    def process(self, batch: DocumentBatch) -> DocumentBatch:
        documents = batch.to_pandas()
        kept, lost = [], []
        rows = zip(documents["id"], documents["url"], documents["text"], documents["bytes"], strict=True)
        for id_, url, text, size in rows:
            failed = judge(text, self.rules_of(url))
            kept.append(failed is None)
            if failed:
                lost.append(Rejection(id_, url, self.name, *failed, int(size)))
        return conclude(batch, self.name, documents[np.array(kept, dtype=bool)], lost)

    def rules_of(self, url: str) -> Sequence[tuple[str, DocumentFilter]]:
        """The rules that a document from there has to meet: all."""
        return self.rules


def judge(text: str, rules: Sequence[tuple[str, DocumentFilter]]) -> tuple[str, float] | None:
    """The reason for which a text leaves, and its score; None where it stays."""
    view = View(text)
    if not view.words:
        return "empty", 0.0
    for reason, rule in rules:
        score = rule.score(view) if isinstance(rule, SharedFilter) else rule.score_document(text)
        if not rule.keep_document(score):
            return reason, round(float(score), 6)
    return None
