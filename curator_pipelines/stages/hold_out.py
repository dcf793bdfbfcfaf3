"""Sets documents aside that no training sees: by a hash of their id, and after deduplication, so that no copy stays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import FileGroupTask

from curator_pipelines.index import LOST, MEMORY, conclude_stage, connect, left, lost_path, save, work_of

TRAIN, HELDOUT = "train", "heldout"
DRAW = "('0x' || left(sha256('held out ' || id), 16))::UBIGINT::DOUBLE / 18446744073709551616.0"  # fraction(id)


@dataclass
class HoldOut(ProcessingStage[FileGroupTask, FileGroupTask]):
    """Gives each document that is left a split. Which one depends on its id alone, not on what else is there.

    Where there are at least two documents, each side gets at least one.
    """

    share: float
    name: str = "hold_out"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], []

    def process(self, task: FileGroupTask) -> FileGroupTask:
        work = work_of(task)
        if not lost_path(work, self.name).exists():
            documents = left(work, task._metadata[LOST], f'number, id, bytes, partition, "row", {DRAW} AS draw')
            with connect(work, task._metadata[MEMORY]) as database:
                drawn = database.sql(f"SELECT min(draw), max(draw), count(*) FROM {documents}")
                ((least, most, count),) = drawn.fetchall()
                held = f"draw < '{self.share!r}'::DOUBLE"
                if count > 1 and least >= self.share:
                    held = f"draw = '{least!r}'::DOUBLE"
                if count > 1 and most < self.share:
                    held = f"draw <> '{most!r}'::DOUBLE"
                split = f"if({held}, '{HELDOUT}', '{TRAIN}') AS split"
                query = f'SELECT number, partition, "row", bytes, {split} FROM {documents} ORDER BY number'
                save(database, query, lost_path(work, self.name))
        return conclude_stage(task, self.name, took=False)


def fraction(id_: str) -> float:
    """A number in [0, 1) that a document's id determines, independent of the order of ids."""
    return int.from_bytes(hashlib.sha256(f"held out {id_}".encode()).digest()[:8]) / 2**64
