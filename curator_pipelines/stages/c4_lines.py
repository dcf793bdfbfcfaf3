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


@dataclass
class C4Lines(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Cuts lines; says how many for which rule; documents with fewer than `min_sentences` left leave.

    FineWeb (Penedo et al., 2024, section 3.5) found that the end mark rule alone costs 30 % of all tokens for little,
    and leaves it out: `end_marks` is off unless asked for. The other rules are C4's: lines of fewer than
    `min_words` words, lines that speak of Javascript, cookies or terms, lines with a word of more than
    `max_word_length` characters. Brackets of citations are cut out of the lines that stay.
    Source: Raffel et al., 2020, section 2.2, and its c4_utils.py in TensorFlow Datasets.
    """

    language: str = "en"
    min_words: int = 3
    min_sentences: int = 5
    max_word_length: int = 1000
    end_marks: bool = False
    name: str = "c4_lines"

    @classmethod
    def of(cls, limits: Quality, language: str) -> C4Lines:
        """The stage for a pipeline's thresholds."""
        return cls(
            language, limits.min_words_per_line, limits.min_sentences, limits.max_word_length, limits.c4_end_marks
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
        kept: list[str] = []
        sentences = 0
        for line in text.split("\n"):
            if not line.strip():
                if kept and kept[-1]:
                    kept.append("")
                continue
            line = CITATION.sub("", line).rstrip() if "[" in line else line
            reason = self.reason(line)
            if reason:
                counts[reason] += 1
                continue
            kept.append(line)
            sentences += sentences_in(line)
        return "\n".join(kept).rstrip("\n"), sentences

    def reason(self, line: str) -> str:
        """The rule that takes a line, "" where none does."""
        line = line.strip()
        words = line.split()
        if len(line) > self.max_word_length and max(map(len, words), default=0) > self.max_word_length:
            return "long_word"
        if self.end_marks and (not line.endswith(END_MARKS[self.language]) or line.endswith("...")):
            return "no_end_mark"
        if len(words) < self.min_words:
            return "few_words"
        lowered = line.lower()
        if "javascript" in lowered:
            return "javascript"
        return "policy" if any(phrase in lowered for phrase in POLICY[self.language]) else ""


def sentences_in(line: str) -> int:
    """Sentences of a line with text in it: one for each end, one more where text follows the last."""
    parts = SENTENCE_END.split(line)
    return len(parts) - (not parts[-1].strip())
