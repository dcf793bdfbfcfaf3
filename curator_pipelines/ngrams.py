"""Where the n-grams of a sequence stood first: what repetition filters count, in linear time and exactly."""

from __future__ import annotations

import numba
import numpy as np

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
SHIFT = np.uint64(29)


def identities(items: list[str]) -> tuple[np.ndarray, list[str]]:
    """A number for each item, equal for equal items, shape (items,), int32; and the item of each number.

    Numbers are given in the order of first occurrence.
    """
    known: dict[str, int] = {}
    numbers = np.fromiter((known.setdefault(item, len(known)) for item in items), dtype=np.int32, count=len(items))
    return numbers, list(known)


@numba.njit(cache=True)
def first_positions(numbers: np.ndarray, n: int) -> np.ndarray:
    """For each n-gram of `numbers` the position of the first one that equals it, shape (len(numbers) - n + 1,).

    Open addressing; a slot holds a position, and n-grams are compared in full. Empty where there is no n-gram.
    """
    count = max(0, len(numbers) - n + 1)
    size = 8
    while size < 2 * count:
        size *= 2
    slots = np.full(size, -1, dtype=np.int32)
    first = np.empty(count, dtype=np.int32)
    for position in range(count):
        hash_ = np.uint64(n)
        for number in numbers[position : position + n]:
            hash_ = (hash_ ^ np.uint64(number + 1)) * MULTIPLIER
            hash_ ^= hash_ >> SHIFT
        slot = np.int64(hash_ & np.uint64(size - 1))
        while slots[slot] >= 0 and not _equal(numbers, slots[slot], position, n):
            slot = (slot + 1) & (size - 1)
        if slots[slot] < 0:
            slots[slot] = position
        first[position] = slots[slot]
    return first


@numba.njit(cache=True)
def _equal(numbers: np.ndarray, left: int, right: int, n: int) -> bool:
    for offset in range(n):  # noqa: SIM110 - numba compiles no generator
        if numbers[left + offset] != numbers[right + offset]:
            return False
    return True


@numba.njit(cache=True)
def duplicated_characters(first: np.ndarray, lengths: np.ndarray, n: int) -> int:
    """Characters of all n-grams that stood before, spaces between words included, none counted twice.

    `first` as first_positions gives it, `lengths` of the words. The count is NeMo-Curator's.
    """
    total, covered = 0, 0
    for position in range(len(first)):
        if first[position] < position:
            for word in range(position + covered, position + n):
                total += lengths[word]
            total += min(n - covered, n - 1)
            covered = n
        covered = max(covered - 1, 0)
    return total
