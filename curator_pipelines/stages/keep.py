"""NeMo-Curator's ScoreFilter with a memory: each document it drops goes into the ledger with its score."""

from __future__ import annotations

from nemo_curator.stages.text.filters import DocumentFilter, ScoreFilter
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.ledger import Rejection, conclude


class Keep(ScoreFilter):
    """Keeps the documents that one of Curator's DocumentFilters keeps; the others leave for `reason`."""

    def __init__(self, filter_obj: DocumentFilter, reason: str, stage: str = "quality") -> None:
        super().__init__(filter_obj=filter_obj, text_field="text", score_field="score")
        self.reason = reason
        self.stage = stage  # the row of the funnel that a run of filters shares
        self.name = f"{stage}:{reason}"

    def process(self, batch: DocumentBatch) -> DocumentBatch:
        before = batch.to_pandas().copy()
        if before.empty:
            return conclude(batch, self.name, before)
        scored = DocumentBatch(batch.dataset_name, before, batch._stage_perf, batch._metadata)
        kept = super().process(scored).to_pandas()
        lost = [
            Rejection(row.id, row.url, self.stage, self.reason, float(row.score), row.bytes)
            for row in before.loc[~before.index.isin(kept.index)].itertuples()
        ]
        return conclude(batch, self.name, kept.drop(columns=["score"]), lost)
