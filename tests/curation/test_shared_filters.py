"""Filters that share a View score every document as NeMo-Curator's own filters do, to the last bit."""

from __future__ import annotations

from functools import cache
from pydoc_data.topics import topics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nemo_curator.stages.text.filters import heuristic
from nemo_curator.stages.text.filters.heuristic import repetition as curators

from curator_pipelines.filters import c4, gopher, repetition
from curator_pipelines.filters.shared import SharedFilter

PAIRS = {
    "word_count": (gopher.WordCount(), heuristic.WordCountFilter()),
    "mean_word_length": (gopher.MeanWordLength(), heuristic.MeanWordLengthFilter()),
    "long_word": (gopher.LongestWord(20), heuristic.LongWordFilter(20)),
    "ellipsis": (gopher.Ellipsis(), heuristic.EllipsisFilter()),
    "words_without_letters": (gopher.WordsWithLetters(), heuristic.WordsWithoutAlphabetsFilter()),
    "non_alphanumeric": (gopher.NonAlphanumeric(0.25), heuristic.NonAlphaNumericFilter()),
    "numbers": (gopher.Numbers(), heuristic.NumbersFilter()),
    "urls": (gopher.Urls(), heuristic.UrlsFilter()),
    "lines_without_end_mark": (c4.LinesWithoutEndMark(0.85), heuristic.PunctuationFilter()),
    "boilerplate": (c4.Boilerplate(0.4), heuristic.BoilerPlateStringFilter()),
    "repeated_lines": (repetition.UniqueLines(), curators.RepeatedLinesFilter()),
    "repeated_line_characters": (repetition.UniqueLineCharacters(), curators.RepeatedLinesByCharFilter()),
    "repeated_paragraphs": (repetition.UniqueParagraphs(), curators.RepeatedParagraphsFilter()),
    "repeated_paragraph_characters": (
        repetition.UniqueParagraphCharacters(),
        curators.RepeatedParagraphsByCharFilter(),
    ),
    **{
        f"duplicate_{n}grams": (repetition.DuplicateNGrams(n, 0.1), curators.RepeatingDuplicateNGramsFilter(n, 0.1))
        for n in range(5, 11)
    },
}
AWKWARD = [
    "word",
    "one two",
    "ein Wörtchen “zitiert” …\n\n\n١٢٣ ٤٥ ²³ ½ https://example.org/ä?b=c,d\n  eingerückt read more\n",
    "a b c d e f g h i j k l " * 9,
    "na na na na na na na na na na na na na na na hey",
    "Terms of use\n\nwe USE cookies\n\n\n\nread this instead.\n\nLorem ipsum",
    "\ud800 half a pair \U0001f600",
]


@cache
def documents() -> list[str]:
    return [*AWKWARD, *(topics[name] for name in sorted(topics))]


@pytest.mark.parametrize("name", PAIRS)
def test_scores_and_verdicts_are_those_of_curator(name: str) -> None:
    ours, theirs = PAIRS[name]
    for text in documents():
        score = ours.score_document(text)
        assert score == theirs.score_document(text), text[:80]
        assert ours.keep_document(score) == theirs.keep_document(score)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_top_ngram_is_one_that_curator_may_take(n: int) -> None:
    """Of several equally frequent n-grams Curator takes any; where there is one, the scores are equal."""
    ours, theirs = repetition.TopNGram(n, 0.2), curators.RepeatingTopNGramsFilter(n, 0.2)
    for text in documents():
        possible = every_top_score(text, n)
        assert ours.score_document(text) in possible, text[:80]
        assert len(possible) > 1 or {theirs.score_document(text)} == possible, text[:80]


def every_top_score(text: str, n: int) -> set[float]:
    words = text.split()
    ngrams = [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
    if not ngrams:
        return {1.0}
    counts: dict[str, int] = {}
    for ngram in ngrams:
        counts[ngram] = counts.get(ngram, 0) + 1
    most = max(counts.values())
    return {(len(text) - len(text.replace(g, ""))) / len(text) for g, count in counts.items() if count == most}


@given(st.lists(st.sampled_from(["a", "bb", "ccc", "ä", "\n"]), min_size=10, max_size=60), st.integers(2, 10))
def test_duplicate_ngrams_of_any_sequence_of_few_words_are_curators(words: list[str], n: int) -> None:
    text = " ".join(words)
    if text.split():
        theirs = curators.RepeatingDuplicateNGramsFilter(n).score_document(text)
        assert repetition.DuplicateNGrams(n).score_document(text) == theirs


def test_letters_beyond_ascii_count_where_a_language_has_them() -> None:
    text = "Größenänderungen übersät"  # 24 characters: one space, 5 letters that ASCII has not
    assert gopher.NonAlphanumeric(0.25).score_document(text) == 6 / 24
    assert gopher.NonAlphanumeric(0.25, beyond_ascii=True).score_document(text) == 1 / 24


def test_a_text_of_one_repeated_character_run_is_scored_in_linear_time() -> None:
    """A million words that all hash alike by being equal, and a line of a million end marks."""
    import time

    text = "x " * 1_000_000 + "." * 1_000_000
    filters: list[SharedFilter] = [ours for ours, _ in PAIRS.values()]
    from curator_pipelines.stages.c4_lines import sentences_in
    from curator_pipelines.stages.keep_all import judge

    judge("warm up the compiler " * 20, [(str(n), rule) for n, rule in enumerate(filters)])
    started = time.process_time()
    for rule in filters:
        judge(text, [("", rule)])
    assert sentences_in("." * 1_000_000 + "x") == 1
    assert time.process_time() - started < 20
