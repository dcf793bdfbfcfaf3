"""Gopher's limit on the most frequent word n-gram, made to give the same score in every process."""

from __future__ import annotations

from collections import Counter

from nemo_curator.stages.text.filters.heuristic.repetition import RepeatingTopNGramsFilter
from nemo_curator.stages.text.utils.text_utils import get_ngrams


class StableTopNGramsFilter(RepeatingTopNGramsFilter):
    """Curator's filter takes the first of equally frequent n-grams out of a set, so its score depends on the hash seed.

    Here it is the one that stands first in the text (Counter keeps that order, and `max` takes the first).
    Source: Rae et al., 2021 (Gopher), table A1.
    """

    def score_document(self, text: str) -> float:
        ngrams = get_ngrams(self._word_splitter(text.strip()), self._n)
        if not ngrams:
            return self._max_ratio
        counts = Counter(ngrams)
        most_frequent = " ".join(max(counts, key=counts.__getitem__))
        return (len(text) - len(text.replace(most_frequent, ""))) / len(text)
