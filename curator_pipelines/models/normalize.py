"""The one form of text that models are trained on and documents are scored in: training and stages both call this."""

from __future__ import annotations

import re
import unicodedata

DIGIT = re.compile(r"\d")
MARK = re.compile(r"[^\w\s]|_")  # one character: linear in the text, whatever it is
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
    return " ".join(MARK.sub(r" \g<0> ", " ".join(lines(text))).split())


def _line(raw: str) -> str:
    if not raw.isascii():
        # Accents that stand alone go first: sorting a long run of them, as NFKD does, takes quadratic time.
        raw = _without_accents(unicodedata.normalize("NFKD", _without_accents(raw.translate(ASCII_PUNCTUATION))))
    zeroed = DIGIT.sub("0", raw.lower())
    if not zeroed.isprintable():
        zeroed = "".join(letter if letter.isprintable() else " " for letter in zeroed)
    return " ".join(zeroed.split())


def _without_accents(text: str) -> str:
    return "".join(letter for letter in text if not unicodedata.combining(letter))
