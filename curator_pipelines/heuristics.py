"""The heuristic rules of Gopher, C4 and FineWeb as lists of (reason, filter), for a language and its thresholds.

Cheap rules stand before dear ones. A pipeline takes the lists it wants; each rule is argued in its filter.
"""

from __future__ import annotations

from nemo_curator.stages.text.filters import DocumentFilter

from curator_pipelines.config import Quality
from curator_pipelines.filters import c4 as of_c4
from curator_pipelines.filters import fineweb as of_fineweb
from curator_pipelines.filters import gopher as of_gopher
from curator_pipelines.filters import repetition as of_repetition

Rules = list[tuple[str, DocumentFilter]]


def length(limits: Quality) -> Rules:
    """Gopher's number of words: before language identification, which needs some."""
    return [("word_count", of_gopher.WordCount(limits.min_words, limits.max_words))]


def gopher(limits: Quality, language: str, typeset: bool = False) -> Rules:
    """Gopher's quality rules, with the shares of marks, digits and addresses that NeMo-Curator adds to them.

    `typeset` says that blanks place the text on a page, as in manuals.
    """
    marks = of_gopher.NonAlphanumeric(limits.max_non_alphanumeric, language != "en", typeset)
    return [
        ("mean_word_length", of_gopher.MeanWordLength(limits.min_mean_word_length, limits.max_mean_word_length)),
        ("long_word", of_gopher.LongestWord(limits.max_word_length)),
        ("symbols", of_gopher.SymbolsToWords(at_most=limits.max_symbol_to_word)),
        ("bullets", of_gopher.Bullets(at_most=limits.max_bullet_lines)),
        ("ellipsis", of_gopher.Ellipsis(limits.max_ellipsis_lines)),
        ("words_without_letters", of_gopher.WordsWithLetters(limits.min_words_with_letters)),
        ("stop_words", of_gopher.StopWords(language, limits.min_stop_words)),
        ("non_alphanumeric", marks),
        ("numbers", of_gopher.Numbers(limits.max_numbers)),
        ("urls", of_gopher.Urls(limits.max_urls)),
    ]


def c4(limits: Quality, language: str) -> Rules:
    """C4's rules for documents. The rule for end marks is NeMo-Curator's form of it: a share, no line is cut."""
    return [
        ("curly_brackets", of_c4.CurlyBrackets(at_most=limits.max_curly_brackets)),
        ("lines_without_end_mark", of_c4.LinesWithoutEndMark(limits.max_lines_without_end_mark, language)),
        ("boilerplate", of_c4.Boilerplate(limits.max_boilerplate, language)),
    ]


def fineweb(limits: Quality, language: str) -> Rules:
    """What FineWeb found to help on top of Gopher and C4."""
    return [
        ("line_punctuation", of_fineweb.LinePunctuation(limits.min_line_punctuation, language)),
        ("short_lines", of_fineweb.ShortLines(at_most=limits.max_short_lines)),
        (
            "duplicate_line_characters",
            of_fineweb.DuplicateLineCharacters(at_most=limits.max_duplicate_line_characters),
        ),
        ("new_lines", of_fineweb.NewLines(at_most=limits.max_new_lines)),
    ]


def repetition(limits: Quality) -> Rules:
    """Gopher's limits on repetition: lines, paragraphs, the most frequent n-grams, all duplicate n-grams."""
    top = {2: limits.max_top_2gram, 3: limits.max_top_3gram, 4: limits.max_top_4gram}
    duplicates = {n: getattr(limits, f"max_duplicate_{n}gram") for n in range(5, 11)}
    return [
        ("repeated_paragraphs", of_repetition.UniqueParagraphs(limits.min_unique_paragraphs)),
        (
            "repeated_paragraph_characters",
            of_repetition.UniqueParagraphCharacters(limits.min_unique_paragraph_characters),
        ),
        ("repeated_lines", of_repetition.UniqueLines(limits.min_unique_lines)),
        ("repeated_line_characters", of_repetition.UniqueLineCharacters(limits.min_unique_line_characters)),
        *((f"top_{n}gram", of_repetition.TopNGram(n, share)) for n, share in top.items()),
        *((f"duplicate_{n}grams", of_repetition.DuplicateNGrams(n, share)) for n, share in duplicates.items()),
    ]
