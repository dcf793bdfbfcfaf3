"""C4's rules for lines: those that are no running text are cut, and documents with too few sentences left leave."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
import re2
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.config import Quality
from curator_pipelines.filters.c4 import END_MARKS, POLICY
from curator_pipelines.ledger import Rejection, conclude, with_bytes

CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
SENTENCE_END = re2.compile(r"""[.?!…]+["'”“«»’)\]]*(?:\s|$)""")

FEW_WORDS, HEADING = "few_words", "heading"


@dataclass
class C4Lines(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Cuts lines; says how many for which rule; documents with fewer than `min_sentences` left leave.

    FineWeb (Penedo et al., 2024, section 3.5) found that the end mark rule alone costs 30 % of all tokens for little,
    and leaves it out: `end_marks` is off unless asked for. The other rules are C4's: lines of fewer than
    `min_words` words, lines that speak of Javascript, cookies or terms, lines with a word of more than
    `max_word_length` characters. Brackets of citations are cut out of the lines that stay.

    With `headings`, which C4 has not, a line of too few words stays where the next one is kept and ends a sentence:
    C4 means menus, which are runs of such lines, but it cuts each heading and each term of a glossary too, and what is
    left defines nothing. A heading counts as no sentence.
    Source: Raffel et al., 2020, section 2.2, and its c4_utils.py in TensorFlow Datasets.
    """

    language: str = "en"
    min_words: int = 3
    min_sentences: int = 5
    max_word_length: int = 1000
    end_marks: bool = False
    headings: bool = False
    name: str = "c4_lines"

    @classmethod
    def of(cls, limits: Quality, language: str) -> C4Lines:
        """The stage for a pipeline's thresholds."""
        return cls(
            language=language,
            min_words=limits.min_words_per_line,
            min_sentences=limits.min_sentences,
            max_word_length=limits.max_word_length,
            end_marks=limits.c4_end_marks,
            headings=limits.c4_headings,
        )

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["id", "url", "text", "bytes"]

    def process(self, batch: DocumentBatch) -> DocumentBatch:
        documents = batch.to_pandas()
        counts: Counter[str] = Counter()
        cut = [self.cut(text, counts) for text in documents["text"]]
        sentences = [count for _, count in cut]
        stays = [count >= self.min_sentences for count in sentences]
        rows = zip(documents["id"], documents["url"], documents["bytes"], sentences, stays, strict=True)
        lost = [
            Rejection(id_, url, self.name, "too_few_sentences", float(count), int(size))
            for id_, url, size, count, stay in rows
            if not stay
        ]
        texts = pd.Series([text for text, _ in cut], index=documents.index, dtype=object)
        kept = documents.assign(text=texts)[np.array(stays, dtype=bool)]
        return conclude(batch, self.name, with_bytes(kept), lost, counts=dict(sorted(counts.items())))

    def cut(self, text: str, counts: Counter[str]) -> tuple[str, int]:
        """The text without the lines that a rule takes, and the sentences left in it; empty lines part paragraphs."""
        lines = [CITATION.sub("", line).rstrip() if "[" in line else line for line in text.split("\n")]
        reasons = [self.reason(line) if line.strip() else "" for line in lines]
        if self.headings:
            self._spare_headings(lines, reasons, counts)
        kept: list[str] = []
        sentences = 0
        for line, reason in zip(lines, reasons, strict=True):
            if not line.strip():
                if kept and kept[-1]:
                    kept.append("")
            elif reason in ("", HEADING):
                kept.append(line)
                sentences += 0 if reason else sentences_in(line)
            else:
                counts[reason] += 1
        return "\n".join(kept).rstrip("\n"), sentences

    def _spare_headings(self, lines: list[str], reasons: list[str], counts: Counter[str]) -> None:
        """Marks the short lines that stand before a sentence."""
        before: int | None = None  # the last line with text in it, where it was too short
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            if before is not None and not reasons[number] and line.rstrip().endswith(END_MARKS[self.language]):
                reasons[before] = HEADING
                counts["headings_kept"] += 1
            before = number if reasons[number] == FEW_WORDS else None

    def reason(self, line: str) -> str:
        """The rule that takes a line, "" where none does."""
        line = line.strip()
        words = line.split()
        if len(line) > self.max_word_length and max(map(len, words), default=0) > self.max_word_length:
            return "long_word"
        if self.end_marks and (not line.endswith(END_MARKS[self.language]) or line.endswith("...")):
            return "no_end_mark"
        if len(words) < self.min_words:
            return FEW_WORDS
        lowered = line.lower()
        if "javascript" in lowered:
            return "javascript"
        return "policy" if any(phrase in lowered for phrase in POLICY[self.language]) else ""


def sentences_in(line: str) -> int:
    """Sentences of a line with text in it: one for each end, one more where text follows the last."""
    parts = SENTENCE_END.split(line)
    return len(parts) - (not parts[-1].strip())
