"""A trained fastText classifier's verdict: documents that score below a fixed threshold leave as of low quality."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd
from nemo_curator.backends.base import WorkerMetadata
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.ledger import Rejection, conclude
from curator_pipelines.models.quality import QualityModel
from glide_nemo.errors import GlideError


@dataclass
class ClassifyQuality(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Adds the column `quality`, between 0 and 1; keeps what has at least `min_quality`. At 0 all stay, scored.

    `model` is a directory that `glide quality-classifier` wrote. NeMo-Curator's FastTextQualityFilter keeps by a draw
    from a Pareto distribution instead (GPT-3, appendix A), which no second run repeats.
    """

    model: str
    min_quality: float = 0.5
    name: str = "quality_classifier"
    _model: QualityModel | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.min_quality <= 1:
            raise GlideError(f"min_quality={self.min_quality} is no probability: choose one between 0 and 1")

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["id", "url", "text", "bytes"]

    def outputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["quality"]

    def setup(self, worker_metadata: WorkerMetadata | None = None) -> None:
        self._model = QualityModel(self.model)

    def process(self, task: DocumentBatch) -> DocumentBatch:
        assert self._model is not None, "setup() comes first"
        frame = task.to_pandas()
        scores = self._model.scores(frame["text"].tolist())
        frame = frame.assign(quality=pd.Series(scores, frame.index, dtype="float64"))
        keep = frame["quality"] >= self.min_quality
        lost = [
            Rejection(row.id, row.url, self.name, "low_quality", row.quality, row.bytes)
            for row in frame[~keep].itertuples()
        ]
        return conclude(task, self.name, frame[keep], lost)
