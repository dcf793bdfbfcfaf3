"""Sets documents aside that no training sees: by a hash of their id, and after deduplication, so that no copy stays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.ledger import conclude

TRAIN, HELDOUT = "train", "heldout"


@dataclass
class HoldOut(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Adds the column `split`. Whether a document is held out depends on its id alone, not on what else is there.

    Where there are at least two documents, each side gets at least one.
    """

    share: float
    name: str = "hold_out"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["id"]

    def outputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["split"]

    def process(self, task: DocumentBatch) -> DocumentBatch:
        frame = task.to_pandas().copy()
        draw = frame["id"].map(fraction)
        held = draw < self.share
        if len(frame) > 1 and not held.any():
            held.loc[draw.idxmin()] = True
        if len(frame) > 1 and held.all():
            held.loc[draw.idxmax()] = False
        frame["split"] = held.map({True: HELDOUT, False: TRAIN})
        return conclude(task, self.name, frame)


def fraction(id_: str) -> float:
    """A number in [0, 1) that a document's id determines, independent of the order of ids."""
    return int.from_bytes(hashlib.sha256(f"held out {id_}".encode()).digest()[:8]) / 2**64
