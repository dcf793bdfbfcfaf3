"""FineWeb's own rules (Penedo et al., 2024, section 3.6), which NeMo-Curator has not, and the share of list lines."""

from __future__ import annotations

from curator_pipelines.filters.shared import Bounded
from curator_pipelines.view import View

# A colon or a quote ends no sentence here: FineWeb counts terminal punctuation alone.
TERMINAL = (".", "?", "!", "。", "！", "？", "‽", "⁇", "⁈", "⁉")
SHORT = 30  # characters


class LinePunctuation(Bounded):
    """Share of lines that end in terminal punctuation; in German also before a closing quote, if it stands inside."""

    def __init__(self, at_least: float, language: str = "en") -> None:
        super().__init__(at_least=at_least)
        quotes = () if language == "en" else tuple(mark + quote for mark in ".?!" for quote in "“”«»\"'")
        self.marks = TERMINAL + quotes

    def score(self, view: View) -> float:
        return sum(line.endswith(self.marks) for line in view.lines) / len(view.lines)


class ShortLines(Bounded):
    """Share of lines of at most 30 characters."""

    def score(self, view: View) -> float:
        return sum(len(line) <= SHORT for line in view.lines) / len(view.lines)


class DuplicateLineCharacters(Bounded):
    """Share of characters, line ends not counted, in lines that stood before."""

    def score(self, view: View) -> float:
        total = len(view.text) - view.text.count("\n")
        return (sum(map(len, view.lines)) - sum(map(len, dict.fromkeys(view.lines)))) / total


class NewLines(Bounded):
    """Line ends a word: high for lists.

    Of lines with text: FineWeb's threshold is for text that has no empty ones, and here paragraphs are parted by one,
    so that every second line end would say nothing.
    """

    def score(self, view: View) -> float:
        return max(0, len(view.lines) - 1) / len(view.words)
