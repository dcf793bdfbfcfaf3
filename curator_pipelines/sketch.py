"""How alike two texts are: sets of word n-grams as sorted 32-bit hashes, small enough to keep for every document."""

from __future__ import annotations

import numba
import numpy as np

SKETCH = 4096  # hashes: documents with fewer n-grams, nearly all of the web's, are compared exactly


def sketch(grams: np.ndarray, size: int = SKETCH) -> np.ndarray:
    """The `size` smallest distinct hashes of a document's n-grams (uint64 in, their upper halves out), sorted, uint32.

    Source: Broder, 1997, section 4 (the sketch M_s, s smallest elements).
    """
    return np.unique((grams >> np.uint64(32)).astype(np.uint32))[:size]


@numba.njit(cache=True)
def jaccard(left: np.ndarray, right: np.ndarray, size: int = SKETCH) -> float:
    """Jaccard similarity of two sketches: exact where both hold their whole set, else an estimate.

    The estimate is the share of the union's `size` smallest hashes that both hold: its standard deviation at
    similarity J is sqrt(J (1 - J) / size), 0.006 at 0.8.
    """
    whole = len(left) < size and len(right) < size
    limit = len(left) + len(right) if whole else size
    i = j = both = union = 0
    while union < limit and i < len(left) and j < len(right):
        both += left[i] == right[j]
        a, b = left[i], right[j]
        i += a <= b
        j += b <= a
        union += 1
    union += min(limit - union, len(left) - i + len(right) - j)
    return both / union if union else 1.0


@numba.njit(cache=True)
def band_keys(signatures: np.ndarray, bands: int) -> np.ndarray:
    """A 64-bit hash of each band of each signature, shape (documents, bands): equal where all the band's rows are.

    FNV-1a over the rows, finished as in splitmix64, so that the hash's own collisions (1 in 2**64) are none.
    """
    documents, permutations = signatures.shape
    rows = permutations // bands
    keys = np.empty((documents, bands), dtype=np.uint64)
    for document in range(documents):
        for band in range(bands):
            key = np.uint64(0xCBF29CE484222325)
            for row in range(band * rows, (band + 1) * rows):
                key = (key ^ np.uint64(signatures[document, row])) * np.uint64(0x100000001B3)
                key ^= key >> np.uint64(29)
            key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            keys[document, band] = key ^ (key >> np.uint64(31))
    return keys


@numba.njit(cache=True)
def find(parent: np.ndarray, document: int) -> int:
    """The root of a document's component, with the path to it halved on the way."""
    while parent[document] != document:
        parent[document] = parent[parent[document]]
        document = parent[document]
    return document


@numba.njit(cache=True)
def keepers(parent: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """For each document the one of its component that stays: the longest, the first among equals."""
    best = np.full(len(parent), -1, dtype=np.int64)
    for document in range(len(parent)):
        root = find(parent, document)
        if best[root] < 0 or sizes[document] > sizes[best[root]]:
            best[root] = document
    for document in range(len(parent)):  # a root's own entry is read by the others until the end
        root = find(parent, document)
        if root != document:
            best[document] = best[root]
    return best
