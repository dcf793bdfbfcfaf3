"""What of an item a document really holds: read in the words themselves, as two hashes may be equal by chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from curator_pipelines.decontamination.index import Index, scan
from curator_pipelines.decontamination.words import as_bytes, fold_table, hash_words, split_words

PLACES = 8  # of one gram in an item that are tried: an item of one word repeated would cost the square of its length


@dataclass(frozen=True)
class Match:
    """An item that stands in a document, in whole or in part."""

    item: int  # its row in the index
    overlap: float  # share of its n-grams that the document holds
    start: int  # of the longest common substring, in characters of the document
    end: int
    runs: tuple[tuple[int, int], ...]  # all that the document holds of it, in characters


def find_matches(text: str, index: Index) -> list[Match]:
    """Every item of which the text holds at least one n-gram, in the order of the index."""
    data = as_bytes(text)
    hits = scan(data, fold_table(), index.widths, index.grams, index.filter, index.filter_shift)
    if not len(hits):
        return []
    document = _Words(text, data)
    found = (_match(item, width, places, document, index) for item, width, places in _candidates(hits, index))
    return [match for match in found if match is not None]


def _candidates(hits: np.ndarray, index: Index) -> Iterator[tuple[int, int, np.ndarray]]:
    """Each item that a hit belongs to, with the width of its grams and the words at which they may stand."""
    first = index.offsets[hits[:, 2]].astype(np.int64)
    sizes = index.offsets[hits[:, 2] + 1].astype(np.int64) - first
    which = np.repeat(np.arange(len(hits)), sizes)
    owners = index.owners[np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes) + first[which]]
    order = np.lexsort((hits[which, 0], hits[which, 1], owners))
    owners, which = owners[order], which[order]
    widths = hits[which, 1]
    borders = np.flatnonzero((owners[1:] != owners[:-1]) | (widths[1:] != widths[:-1])) + 1
    for group in np.split(np.arange(len(owners)), borders):
        yield int(owners[group[0]]), int(widths[group[0]]), hits[which[group], 0]


class _Words:
    """The normalised words of a document, read where they are asked for, and the characters that they came from."""

    def __init__(self, text: str, data: np.ndarray) -> None:
        _, starts, ends = hash_words(data, fold_table())
        character = np.append(0, np.cumsum((data & 0xC0) != 0x80))  # of each byte; continuation bytes begin none
        self._text = text
        self._starts, self._ends = character[starts], character[ends]
        self._read: dict[int, str] = {}

    def gram(self, first: int, width: int) -> tuple[str, ...]:
        return tuple(self._word(at) for at in range(first, first + width))

    def characters(self, first: int, last: int) -> tuple[int, int]:
        """Where words `first` to `last` (not included) begin and end."""
        return int(self._starts[first]), int(self._ends[last - 1])

    def _word(self, at: int) -> str:
        if at not in self._read:
            self._read[at] = "".join(split_words(self._text[self._starts[at] : self._ends[at]]))
        return self._read[at]


def _match(item: int, width: int, places: np.ndarray, document: _Words, index: Index) -> Match | None:
    """The longest run is built from grams: runs of at least `width` words that go on, in both, from word to word."""
    words = split_words(index.items["text"][item].as_py())
    positions: dict[tuple[str, ...], list[int]] = {}
    for first in range(len(words) - width + 1):
        positions.setdefault(tuple(words[first : first + width]), []).append(first)
    found: set[tuple[str, ...]] = set()
    runs: list[list[int]] = []  # of words
    longest = (0, 0)
    before, going = -2, {}  # the word last looked at, and of each place in the item where a run ended: its first word
    for place in places.tolist():
        gram = document.gram(place, width)
        if gram not in positions:
            continue
        found.add(gram)
        if runs and place <= runs[-1][1]:
            runs[-1][1] = place + width
        else:
            runs.append([place, place + width])
        last = going if place == before + 1 else {}
        going = {at: last.get(at - 1, place) for at in positions[gram][:PLACES]}
        before = place
        start = min(going.values())
        if place + width - start > longest[1] - longest[0]:
            longest = (start, place + width)
    if not found:
        return None
    share = min(1.0, len(found) / index.items["grams"][item].as_py())
    start, end = document.characters(*longest)
    return Match(item, round(share, 4), start, end, tuple(document.characters(*run) for run in runs))
