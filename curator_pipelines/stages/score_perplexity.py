"""Perplexity under an n-gram model of clean text, and head, middle or tail by it: CCNet's measure of quality."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from nemo_curator.backends.base import WorkerMetadata
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.ledger import Rejection, conclude
from curator_pipelines.models.perplexity import THRESHOLDS, PerplexityModel
from glide_nemo.errors import GlideError

BUCKETS = ("head", "middle", "tail")


@dataclass
class ScorePerplexity(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Adds the columns `perplexity` and `perplexity_bucket`; documents of other buckets than `keep` leave.

    `model` is a directory that `glide perplexity-model` wrote; its thresholds part the buckets. Source: Wenzek et al.,
    2020 (CCNet), who keep all three and train on the head.
    """

    model: str
    keep: Sequence[str] = BUCKETS
    name: str = "perplexity"
    _model: PerplexityModel | None = field(default=None, init=False, repr=False)
    _thresholds: tuple[float, float] = field(default=(0.0, 0.0), init=False, repr=False)

    def __post_init__(self) -> None:
        if unknown := [bucket for bucket in self.keep if bucket not in BUCKETS]:
            raise GlideError(f"unknown bucket '{unknown[0]}': choose of {', '.join(BUCKETS)}")

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["id", "url", "text", "bytes"]

    def outputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["perplexity", "perplexity_bucket"]

    def setup(self, worker_metadata: WorkerMetadata | None = None) -> None:
        self._model = PerplexityModel(self.model)
        self._thresholds = read_thresholds(Path(self.model) / THRESHOLDS)

    def process(self, task: DocumentBatch) -> DocumentBatch:
        assert self._model is not None, "setup() comes first"
        frame = task.to_pandas()
        scores = pd.Series([self._model.perplexity(text) for text in frame["text"]], frame.index, dtype="float64")
        buckets = pd.Series([bucket(score, *self._thresholds) for score in scores], frame.index, dtype="object")
        frame = frame.assign(perplexity=scores, perplexity_bucket=buckets)
        keep = buckets.isin(list(self.keep))
        lost = [
            Rejection(row.id, row.url, self.name, f"perplexity_{row.perplexity_bucket}", _score(row), row.bytes)
            for row in frame[~keep].itertuples()
        ]
        counts = {name: int((buckets == name).sum()) for name in BUCKETS}
        return conclude(task, self.name, frame[keep], lost, counts=counts)


def bucket(perplexity: float, head: float, tail: float) -> str:
    """`head` up to the first threshold, `middle` up to the second, `tail` above it."""
    return "head" if perplexity <= head else "middle" if perplexity <= tail else "tail"


def read_thresholds(path: Path) -> tuple[float, float]:
    """`(head, tail)`. GlideError where the file is missing or holds something else."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        return float(read["head"]), float(read["tail"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GlideError(f'no thresholds in {path}: write {{"head": ..., "tail": ...}}, or train the model') from error


def _score(row: object) -> float | None:
    return row.perplexity if math.isfinite(row.perplexity) else None  # of a text without a line nothing was measured
