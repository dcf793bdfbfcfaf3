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
) -> DocumentBatch:
    """The batch that a stage hands on: `kept`, with `lost` and what is left added to the ledger it came with.

    `kept` has a column `bytes`. `metadata` is merged into the batch's own.
    """
    before = batch._metadata
    ledger = {
        REJECTIONS: [*before.get(REJECTIONS, ()), *lost],
        FUNNEL: [*before.get(FUNNEL, ()), (stage, len(kept), int(kept["bytes"].sum()))],
    }
    return DocumentBatch(
        dataset_name=batch.dataset_name,
        data=kept,
        _metadata={**before, **(metadata or {}), **ledger},
        _stage_perf=batch._stage_perf,
    )
