"""What a curation takes for contaminated, and what it does with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from glide_nemo.errors import GlideError

if TYPE_CHECKING:
    from curator_pipelines.stages.decontaminate import Decontaminate

MODES = ("document", "passage")


@dataclass
class Decontamination:
    """Overlap is the share of an item's 13-grams that a document holds.

    GPT-3 removed on a single 13-gram, and then had to ignore those of more than 10 documents, which are proverbs and
    legal text; the items that leaked most are in more than 10 documents as well. A share needs no such list: a quoted
    sentence is a small part of a long item. Of items of 51 to 100 words with three words changed 0.3 finds 91 % and 0.5
    49 %, and neither takes any of 2,202 clean documents (docs/journal.md).
    """

    benchmarks: str = ""  # directory that `glide decontam fetch` wrote; empty: nothing is looked for
    threshold: float = 0.3  # overlap from which a document is contaminated; 0: a single 13-gram
    thresholds: dict[str, float] = field(default_factory=dict)  # of a benchmark, where it is another
    mode: str = "document"  # what is removed: the document, or the passage with `window` characters on both sides
    window: int = 200  # characters
    min_piece: int = 200  # characters; shorter pieces between passages are removed too
    max_pieces: int = 10  # a document cut into more is removed

    def check(self) -> None:
        """Raises GlideError for a value that no run could use, and where `benchmarks` is no index."""
        if self.mode not in MODES:
            raise GlideError(f"unknown decontamination.mode '{self.mode}': choose one of {', '.join(MODES)}")
        for name, value in {"threshold": self.threshold, **self.thresholds}.items():
            if not 0 <= value <= 1:
                raise GlideError(f"decontamination {name}={value} is no share: choose one between 0 and 1")
        for name in ("window", "min_piece", "max_pieces"):
            if getattr(self, name) < 0:
                raise GlideError(f"decontamination.{name}={getattr(self, name)} is negative: choose 0 or more")
        if self.benchmarks:
            self._check_benchmarks()

    def stages(self) -> list[Decontaminate]:
        """The stage that does it, or none."""
        if not self.benchmarks:
            return []
        from curator_pipelines.decontamination.fetch import index_folder
        from curator_pipelines.stages.decontaminate import Decontaminate

        return [
            Decontaminate(
                index=str(index_folder(self.benchmarks)),
                threshold=self.threshold,
                thresholds=dict(self.thresholds),
                mode=self.mode,
                window=self.window,
                min_piece=self.min_piece,
                max_pieces=self.max_pieces,
            )
        ]

    def _check_benchmarks(self) -> None:
        from glide_nemo.artifact import load

        known = load(self.benchmarks, "benchmarks").metrics["benchmarks"]
        for name in self.thresholds:
            if name not in known:
                raise GlideError(f"no benchmark '{name}' in {self.benchmarks}: it holds {', '.join(known)}")
