"""A document as the heuristics see it: words, lines and letters, each computed once however many filters ask."""

from __future__ import annotations

import re
from functools import cached_property

import numpy as np

from curator_pipelines.ngrams import first_positions, identities

BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")


class View:
    """What filters share of one text. Words are parted by white space, as NeMo-Curator parts them."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def words(self) -> list[str]:
        return self.text.split()

    @cached_property
    def word_lengths(self) -> np.ndarray:
        """In characters, shape (words,)."""
        return np.fromiter(map(len, self.words), dtype=np.int32, count=len(self.words))

    @cached_property
    def lines(self) -> list[str]:
        """Those that are not blank, as they stand."""
        return [line for line in self.text.split("\n") if line.strip()]

    @cached_property
    def stripped_lines(self) -> list[str]:
        return [line.strip() for line in self.lines]

    @cached_property
    def paragraphs(self) -> list[str]:
        """Parted by an empty line."""
        return self.text.split("\n\n")

    @cached_property
    def lowered(self) -> str:
        return self.text.lower()

    @cached_property
    def _identified(self) -> tuple[np.ndarray, list[str]]:
        return identities(self.words)

    @property
    def word_numbers(self) -> np.ndarray:
        """Equal for equal words, shape (words,), int32."""
        return self._identified[0]

    @property
    def vocabulary(self) -> list[str]:
        """Each word once, in the order of `word_numbers`."""
        return self._identified[1]

    @cached_property
    def word_counts(self) -> np.ndarray:
        """How often each word of `vocabulary` occurs."""
        return np.bincount(self.word_numbers, minlength=len(self.vocabulary))

    @cached_property
    def _first_ngrams(self) -> dict[int, np.ndarray]:
        return {}

    def first_ngrams(self, n: int) -> np.ndarray:
        """For each word n-gram where it stood first, shape (words - n + 1,)."""
        if n not in self._first_ngrams:
            self._first_ngrams[n] = first_positions(self.word_numbers, n)
        return self._first_ngrams[n]

    @cached_property
    def ascii_counts(self) -> np.ndarray:
        """How often each ASCII character occurs, shape (128,)."""
        encoded = np.frombuffer(self.text.encode("utf-8", "surrogatepass"), dtype=np.uint8)
        return np.bincount(encoded, minlength=256)[:128]

    @cached_property
    def beyond_ascii(self) -> str:
        """The characters that are not ASCII, in order."""
        return "".join(BEYOND_ASCII.findall(self.text))
