"""Gopher's limits on repetition (Rae et al., 2021, table A1), with NeMo-Curator's scores at a fraction of the time."""

from __future__ import annotations

import numpy as np
from nemo_curator.stages.text.filters.heuristic.repetition import (
    RepeatedLinesByCharFilter,
    RepeatedLinesFilter,
    RepeatedParagraphsByCharFilter,
    RepeatedParagraphsFilter,
    RepeatingDuplicateNGramsFilter,
    RepeatingTopNGramsFilter,
)

from curator_pipelines.filters.shared import SharedFilter
from curator_pipelines.ngrams import duplicated_characters
from curator_pipelines.view import View


class UniqueLines(SharedFilter, RepeatedLinesFilter):
    """Share of lines that are left without their repetitions."""

    def score(self, view: View) -> float:
        return len(set(view.lines)) / len(view.lines)


class UniqueLineCharacters(SharedFilter, RepeatedLinesByCharFilter):
    """The same, in characters."""

    def score(self, view: View) -> float:
        return _characters(dict.fromkeys(view.lines)) / _characters(view.lines)


class UniqueParagraphs(SharedFilter, RepeatedParagraphsFilter):
    """Share of paragraphs that are left without their repetitions."""

    def score(self, view: View) -> float:
        return len(set(view.paragraphs)) / len(view.paragraphs)


class UniqueParagraphCharacters(SharedFilter, RepeatedParagraphsByCharFilter):
    """The same, in characters."""

    def score(self, view: View) -> float:
        return _characters(dict.fromkeys(view.paragraphs)) / max(1, _characters(view.paragraphs))


class TopNGram(SharedFilter, RepeatingTopNGramsFilter):
    """Share of characters in the most frequent word n-gram, of equally frequent ones the first in the text.

    Curator's takes one of those out of a set, so that its score depends on the hash seed.
    """

    def score(self, view: View) -> float:
        first = view.first_ngrams(self._n)
        if not len(first):
            return self._max_ratio
        top = int(np.argmax(np.bincount(first)))
        ngram = " ".join(view.words[top : top + self._n])
        return view.text.count(ngram) * len(ngram) / len(view.text)


class DuplicateNGrams(SharedFilter, RepeatingDuplicateNGramsFilter):
    """Share of characters in word n-grams that stood before, each character counted once."""

    def score(self, view: View) -> float:
        first = view.first_ngrams(self._n)
        if not len(first):
            return self._max_ratio
        return duplicated_characters(first, view.word_lengths, self._n) / len(view.text)


def _characters(parts: list[str] | dict[str, None]) -> int:
    return sum(map(len, parts))
