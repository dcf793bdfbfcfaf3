"""The one form of text that models are trained on and documents are scored in: training and stages both call this."""

from __future__ import annotations

import unicodedata
from itertools import groupby

# Punctuation as ASCII has it, so that a typographer's quote is not a rare word.
ASCII_PUNCTUATION = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′ʼ´", "'"),
        **dict.fromkeys("“”„‟″«»‹›", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("•·◦▪", "-"),
        "…": "...",
    }
)


def lines(text: str) -> list[str]:
    """The non-empty lines of a text: lower case, no accents, ASCII punctuation, each digit a 0, single spaces.

    Source: CCNet (Wenzek et al., 2020), which normalises so before its language models see the text.
    """
    return [line for raw in text.split("\n") if (line := _line(raw))]


def words(text: str) -> str:
    """All lines as one, words and punctuation marks apart: what fastText takes, which splits at spaces alone.

    No word of a document can be taken for a label (`__label__...`), as its underscores stand apart.
    """
    apart = (
        "".join(letters) if is_word else " ".join(letters)
        for line in lines(text)
        for piece in line.split()
        for is_word, letters in groupby(piece, str.isalnum)
    )
    return " ".join(apart)


def _line(raw: str) -> str:
    if not raw.isascii():
        decomposed = unicodedata.normalize("NFKD", raw.translate(ASCII_PUNCTUATION))
        raw = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    zeroed = "".join("0" if letter.isdigit() else letter for letter in raw.lower())
    return " ".join("".join(letter if letter.isprintable() else " " for letter in zeroed).split())
