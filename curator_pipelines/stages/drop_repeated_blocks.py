"""Drops what a page says twice: blocks of lines that stood in the same document before.

Pages built from templates repeat themselves (inherited methods, footers of list entries). Gopher's filters throw such a
document away whole; cutting the copies keeps what it says once. Repeated single lines stay: code, verse and tables have
many. A relative of exact-substring deduplication (Lee et al., 2022), at the grain of lines and within one document.
"""

from __future__ import annotations

from nemo_curator.stages.text.modifiers import Modify
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.ledger import conclude, with_bytes


class DropRepeatedBlocks(Modify):
    """NeMo-Curator's Modify over `without_repeated_blocks`; no document leaves here."""

    def __init__(self, lines: int) -> None:
        self.lines = lines
        super().__init__(modifier_fn=self._modify, input_fields="text")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.name = "drop_repeated_blocks"

    def _modify(self, text: str) -> str:
        return without_repeated_blocks(text, self.lines)

    def process(self, batch: DocumentBatch) -> DocumentBatch:
        return conclude(batch, self.name, with_bytes(super().process(batch).to_pandas()))


def without_repeated_blocks(text: str, lines: int) -> str:
    """The text without the lines of any run of `lines` non-empty lines that stood in it before, as a run, in full.

    Empty lines are not counted, and go with what they surround. `lines=0` changes nothing.
    """
    if not lines:
        return text
    every = text.split("\n")
    filled = [number for number, line in enumerate(every) if line.strip()]
    runs = [
        tuple(every[number] for number in filled[start : start + lines]) for start in range(len(filled) - lines + 1)
    ]
    first: dict[tuple[str, ...], int] = {}
    dropped: set[int] = set()
    for start, run in enumerate(runs):
        if first.setdefault(run, start) <= start - lines:  # a run that overlaps its own copy is one repeated line
            dropped.update(range(filled[start], filled[start + lines - 1] + 1))
    if not dropped:
        return text
    kept = [line for number, line in enumerate(every) if number not in dropped]
    return "\n".join(line for line, before in zip(kept, ["", *kept], strict=False) if line.strip() or before.strip())
