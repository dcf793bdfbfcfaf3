"""Near-duplicates by the definition: Jaccard similarity of sets of word n-grams, as strings, each pair compared."""

from __future__ import annotations

import re
from functools import lru_cache

NGRAM = 5


@lru_cache(4096)
def word_ngrams(text: str) -> frozenset[tuple[str, ...]]:
    """Words are runs of ASCII letters in lower case, digits, and everything outside ASCII."""
    words = re.findall(r"[A-Za-z0-9\u0080-\U0010ffff]+", text)
    words = [re.sub("[A-Z]", lambda letter: letter[0].lower(), word) for word in words]
    return frozenset(tuple(words[start : start + NGRAM]) for start in range(max(1, len(words) - NGRAM + 1)))


def alike(one: str, other: str) -> float:
    left, right = word_ngrams(one), word_ngrams(other)
    return len(left & right) / len(left | right)
