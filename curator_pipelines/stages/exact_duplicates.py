"""Exact deduplication: of documents whose normalised text is the same, the first by id stays."""

from __future__ import annotations

from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.ledger import conclude
from curator_pipelines.stages.partition_files import rejections_of


class DropExactDuplicates(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Compares `text_hash`. NeMo-Curator's own exact deduplication needs a GPU (cuDF)."""

    name = "exact_duplicates"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["id", "url", "bytes", "text_hash"]

    def process(self, task: DocumentBatch) -> DocumentBatch:
        frame = task.to_pandas()  # sorted by id
        repeated = frame.duplicated("text_hash", keep="first")
        lost = rejections_of(frame[repeated], self.name, "exact_duplicate")
        return conclude(task, self.name, frame[~repeated].reset_index(drop=True), lost)
