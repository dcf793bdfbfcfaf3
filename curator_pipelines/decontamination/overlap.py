"""What of an item a document really holds: read in the words themselves, as two hashes may be equal by chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from curator_pipelines.decontamination.index import Index, scan
from curator_pipelines.decontamination.words import as_bytes, fold_table, hash_words, split_words

# Text that repeats one word fits an item that does so at every place: bounds keep that linear.
PLACES = 8  # of one gram in an item that are tried
FOLLOW = 16  # words compared in following runs, for each place and each word of the item


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

    def __len__(self) -> int:
        return len(self._starts)

    def gram(self, first: int, width: int) -> tuple[str, ...]:
        return tuple(self.word(at) for at in range(first, first + width))

    def characters(self, first: int, last: int) -> tuple[int, int]:
        """Where words `first` to `last` (not included) begin and end."""
        return int(self._starts[first]), int(self._ends[last - 1])

    def word(self, at: int) -> str:
        if at not in self._read:
            self._read[at] = "".join(split_words(self._text[self._starts[at] : self._ends[at]]))
        return self._read[at]


def _match(item: int, width: int, places: np.ndarray, document: _Words, index: Index) -> Match | None:
    """Grams say where to look; from there a run of equal words is followed both ways, as far as it goes.

    So a run may hold grams that the index leaves out, but has at least one that it does not.
    """
    words = split_words(index.items["text"][item].as_py())
    positions: dict[tuple[str, ...], list[int]] = {}
    for first in range(len(words) - width + 1):
        positions.setdefault(tuple(words[first : first + width]), []).append(first)
    found: set[tuple[str, ...]] = set()
    runs: list[tuple[int, int]] = []  # of words
    reached: dict[int, int] = {}  # how far the run went in which item and document lie this many words apart
    follow = FOLLOW * (len(places) + len(words))
    for place in places.tolist():
        gram = document.gram(place, width)
        if gram not in positions:
            continue
        found.add(gram)
        for at in positions[gram][:PLACES]:
            if place >= reached.get(place - at, 0):
                run = _run(words, at, document, place, width) if follow > 0 else (place, place + width)
                reached[place - at] = run[1]
                follow -= run[1] - run[0]
                runs.append(run)
    if not found:
        return None
    share = min(1.0, len(found) / index.items["grams"][item].as_py())
    start, end = document.characters(*max(runs, key=lambda run: run[1] - run[0]))
    return Match(item, round(share, 4), start, end, tuple(document.characters(*run) for run in _merged(runs)))


def _run(words: list[str], at: int, document: _Words, place: int, width: int) -> tuple[int, int]:
    """The first and the last word (not included) of the document's run around `width` words known to be equal."""
    before = 0
    while before < min(at, place) and words[at - before - 1] == document.word(place - before - 1):
        before += 1
    after = width
    while (
        at + after < len(words) and place + after < len(document) and words[at + after] == document.word(place + after)
    ):
        after += 1
    return place - before, place + after


def _merged(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(runs):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged
