"""Gopher's quality rules (Rae et al., 2021, appendix A1.1), through NeMo-Curator's filters where they say the same.

The subclasses of Curator's filters keep its thresholds and verdicts and only count on what is shared; the others say
where Curator's departs from the paper.
"""

from __future__ import annotations

import re

from nemo_curator.stages.text.filters.heuristic import (
    EllipsisFilter,
    LongWordFilter,
    MeanWordLengthFilter,
    NonAlphaNumericFilter,
    NumbersFilter,
    UrlsFilter,
    WordCountFilter,
    WordsWithoutAlphabetsFilter,
)
from nemo_curator.stages.text.utils.constants import bullet_list, ellipsis_marks, regex_alpha

from curator_pipelines.filters.shared import Bounded, SharedFilter
from curator_pipelines.view import View

BULLETS = (*sorted(bullet_list), "- ", "* ", "– ")
ELLIPSES = tuple(sorted(ellipsis_marks))
ASCII_ALPHANUMERIC = [code for code in range(128) if chr(code).isalnum() or chr(code) in "\n?!,."]
BLANKS = re.compile(r"[ \t]{2,}")
ASCII_DIGITS = slice(ord("0"), ord("9") + 1)
# Gopher's own, and the words that take their places in German by frequency in running text.
STOP_WORDS = {
    "en": frozenset({"the", "be", "to", "of", "and", "that", "have", "with"}),
    "de": frozenset({"der", "die", "das", "und", "in", "zu", "den", "von", "mit", "ist", "nicht", "sich"}),
}


class WordCount(SharedFilter, WordCountFilter):
    """Words of a document."""

    def score(self, view: View) -> float:
        return len(view.words)


class MeanWordLength(SharedFilter, MeanWordLengthFilter):
    """Characters a word, marks beside it included."""

    def score(self, view: View) -> float:
        return int(view.word_lengths.sum()) / len(view.words)


class LongestWord(SharedFilter, LongWordFilter):
    """Characters of the longest word (C4)."""

    def score(self, view: View) -> float:
        return int(view.word_lengths.max())


class SymbolsToWords(Bounded):
    """Hash signs or ellipses a word, whichever are more.

    The paper limits either symbol's ratio; Curator's filter counts words made of them, and both together.
    """

    def score(self, view: View) -> float:
        ellipses = view.text.count("...") + view.text.count("…")
        return max(view.text.count("#"), ellipses) / len(view.words)


class Bullets(Bounded):
    """Share of lines that begin with a bullet; Curator's filter knows no dash, which text extraction makes of most."""

    def score(self, view: View) -> float:
        return sum(line.startswith(BULLETS) for line in view.stripped_lines) / len(view.lines)


class Ellipsis(SharedFilter, EllipsisFilter):
    """Share of lines that end in an ellipsis."""

    def score(self, view: View) -> float:
        return sum(line.lower().endswith(ELLIPSES) for line in view.stripped_lines) / len(view.lines)


class WordsWithLetters(SharedFilter, WordsWithoutAlphabetsFilter):
    """Share of words with a letter in them."""

    def score(self, view: View) -> float:
        with_letter = [word.isalpha() or regex_alpha.search(word) is not None for word in view.vocabulary]
        return int(view.word_counts[with_letter].sum()) / len(view.words)


class StopWords(Bounded):
    """How many of the language's stop words occur: different ones, as in the paper (Curator counts occurrences)."""

    def __init__(self, language: str, at_least: int) -> None:
        super().__init__(at_least=at_least)
        self.stop_words = STOP_WORDS[language]

    def score(self, view: View) -> float:
        return len(self.stop_words.intersection(view.vocabulary))


class NonAlphanumeric(SharedFilter, NonAlphaNumericFilter):
    """Share of characters that are no letter, digit, line end or one of `?!,.`.

    Curator's filter is for English: it takes letters beyond ASCII for none. With `beyond_ascii` they are letters. It is
    also for text whose white space says nothing. With `typeset` a run of blanks counts as one: indentation, justified
    lines and columns are the page's, not the text's.
    """

    def __init__(self, max_share: float, beyond_ascii: bool = False, typeset: bool = False) -> None:
        super().__init__(max_share)
        self.beyond_ascii = beyond_ascii
        self.typeset = typeset

    def score(self, view: View) -> float:
        wanted = int(view.ascii_counts[ASCII_ALPHANUMERIC].sum())
        if self.beyond_ascii:
            wanted += sum(map(str.isalnum, view.beyond_ascii))
        total = len(view.text)
        if self.typeset:
            total -= sum(len(run) - 1 for run in BLANKS.findall(view.text))
        return (total - wanted) / total if total else 1.0


class Numbers(SharedFilter, NumbersFilter):
    """Share of characters that are ASCII digits."""

    def score(self, view: View) -> float:
        return int(view.ascii_counts[ASCII_DIGITS].sum()) / len(view.text) if view.text else 1.0


class Urls(SharedFilter, UrlsFilter):
    """Share of characters that belong to web addresses."""

    def score(self, view: View) -> float:
        if view.text and "http" not in view.text:
            return 0.0
        return UrlsFilter.score_document(self, view.text)
