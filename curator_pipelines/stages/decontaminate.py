"""Takes out documents, or passages of them, that hold items of evaluation sets, and records what they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.ledger import Contamination, Rejection, conclude, with_bytes

if TYPE_CHECKING:
    from curator_pipelines.decontamination.index import Index
    from curator_pipelines.decontamination.overlap import Match

DOCUMENT, PASSAGE = "document", "passage"


@dataclass
class Decontaminate(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Finds items of the index in the folder `index`, of which a document holds at least their benchmark's threshold.

    Thresholds are shares of an item's n-grams; 0 takes a single one, as GPT-3 did. With mode "document" such a document
    leaves, as `contaminated_<benchmark>` with the item's overlap as its score; with "passage", what of it matches, and
    `window` characters on both sides (see passages.py), and the document where that leaves nothing.
    """

    index: str
    threshold: float = 0.3
    thresholds: Mapping[str, float] = field(default_factory=dict)  # by benchmark, where it is another
    mode: str = DOCUMENT
    window: int = 200  # characters
    min_piece: int = 200  # characters
    max_pieces: int = 10
    name: str = "decontaminate"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["id", "url", "text", "bytes"]

    def outputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["text", "bytes"]

    def setup(self, worker_metadata: object = None) -> None:
        from curator_pipelines.decontamination.index import open_index

        self._index: Index = open_index(self.index)

    def process(self, batch: DocumentBatch) -> DocumentBatch:
        from curator_pipelines.decontamination.overlap import find_matches

        documents = batch.to_pandas()
        texts: list[str | None] = []
        lost: list[Rejection] = []
        contaminated: list[Contamination] = []
        counts: Counter[str] = Counter()
        for id_, url, text, size in zip(*(documents[key] for key in ("id", "url", "text", "bytes")), strict=True):
            every = find_matches(text, self._index)
            matches = [match for match in every if match.overlap >= self._threshold(match)]
            counts["items_below_threshold"] += len(every) - len(matches)
            left = self._without(text, matches)
            texts.append(left)
            if not matches:
                continue
            removed = DOCUMENT if left is None else PASSAGE
            rows = [self._row(id_, url, text, match, removed) for match in matches]
            contaminated += rows
            counts[f"{removed}s"] += 1
            if left is None:
                worst = min(rows, key=lambda row: (-row.overlap, row.benchmark, row.item))
                lost.append(Rejection(id_, url, self.name, f"contaminated_{worst.benchmark}", worst.overlap, int(size)))
        kept = documents.assign(text=pd.Series(texts, index=documents.index, dtype="object"))
        kept = with_bytes(kept[kept["text"].notna()])
        counts = Counter({name: count for name, count in counts.items() if count})
        return conclude(batch, self.name, kept, lost, counts=counts, contaminated=contaminated)

    def _threshold(self, match: Match) -> float:
        return self.thresholds.get(self._benchmark(match), self.threshold)

    def _benchmark(self, match: Match) -> str:
        return self._index.items["benchmark"][match.item].as_py()

    def _without(self, text: str, matches: list[Match]) -> str | None:
        from curator_pipelines.decontamination.passages import cut_passages

        if not matches:
            return text
        if self.mode == DOCUMENT:
            return None
        runs = [run for match in matches for run in match.runs]
        return cut_passages(
            text, runs, window=self.window, min_piece=self.min_piece, max_pieces=self.max_pieces
        )  # fmt: skip

    def _row(self, id_: str, url: str, text: str, match: Match, removed: str) -> Contamination:
        item = self._index.items["id"][match.item].as_py()
        span = text[match.start : match.end]
        return Contamination(id_, url, self._benchmark(match), item, span, match.overlap, removed)
