"""What every stage does alike: pass on the documents it keeps, and write down each one that it does not, and why.

A batch carries its ledger in `_metadata`, which NeMo-Curator's own stages hand on untouched, so they mix with ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from nemo_curator.tasks import DocumentBatch

REJECTIONS = "rejections"  # rows of the ledger
FUNNEL = "funnel"  # [stage, documents left, bytes left], in the order of the stages
COUNTS = "counts"  # of each stage: what it counted -> how often
CONTAMINATION = "contamination"  # rows of the other ledger
# What stages may add to a document beside its text; a corpus has every column, empty where no stage measured it.
SCORES = {"language_score": "float64", "perplexity": "float64", "perplexity_bucket": "string", "quality": "float64",
          "toxicity": "float64"}  # fmt: skip
COLUMNS = ("id", "url", "stage", "reason", "score", "bytes")


@dataclass(frozen=True)
class Rejection:
    """One page or document that left: where, why, and the score that decided it (None where nothing was measured)."""

    id: str
    url: str
    stage: str
    reason: str
    score: float | None
    bytes: int  # of HTML before extraction, of UTF-8 text after it


@dataclass(frozen=True)
class Contamination:
    """An item of an evaluation set that stands in a document: which, and the characters that they share."""

    id: str
    url: str
    benchmark: str
    item: str  # the item's own id, or its number in the file
    span: str  # of the document, as it reads there
    overlap: float  # share of the item's n-grams that the document holds
    removed: str  # "document" or "passage"


def with_bytes(documents: pd.DataFrame) -> pd.DataFrame:
    """The documents with `bytes` counted anew, after a change of their `text`."""
    sizes = [len(text.encode("utf-8")) for text in documents["text"]]
    return documents.assign(bytes=pd.Series(sizes, index=documents.index, dtype="int64"))


def conclude(
    batch: DocumentBatch,
    stage: str,
    kept: pd.DataFrame,
    lost: Sequence[Rejection] = (),
    metadata: Mapping[str, Any] | None = None,
    *,
    counts: Mapping[str, int] | None = None,
    contaminated: Sequence[Contamination] = (),
) -> DocumentBatch:
    """The batch that a stage hands on: `kept`, with `lost` and what is left added to the ledger it came with.

    `kept` has a column `bytes`. `metadata` is merged into the batch's own. `counts` are summed over all batches and
    stand in the corpus's metrics under the stage's name.
    """
    before = batch._metadata
    ledger = {
        REJECTIONS: [*before.get(REJECTIONS, ()), *lost],
        CONTAMINATION: [*before.get(CONTAMINATION, ()), *contaminated],
        COUNTS: {**before.get(COUNTS, {}), **({stage: dict(counts)} if counts else {})},
        FUNNEL: [*before.get(FUNNEL, ()), (stage, len(kept), int(kept["bytes"].sum()))],
    }
    return DocumentBatch(
        dataset_name=batch.dataset_name,
        data=kept,
        _metadata={**before, **(metadata or {}), **ledger},
        _stage_perf=batch._stage_perf,
    )
