"""Finds in any text a sentence and the one that follows it in the same paragraph: what can be asked of a page."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

SENTENCE = re.compile(r"[A-ZÀ-Þ\"“„(][^.!?]{18,280}[.!?][\"”“)]?(?=\s|$)")


def followed(text: str) -> Iterator[tuple[str, str]]:
    """(sentence, the next one), each sentence in one pair at most."""
    for paragraph in re.split(r"\n\s*\n", text):
        sentences = [found[0] for found in SENTENCE.finditer(" ".join(paragraph.split()))]
        yield from itertools.batched(sentences[: len(sentences) // 2 * 2], 2)
