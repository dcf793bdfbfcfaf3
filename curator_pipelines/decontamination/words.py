"""Normalised words, as GPT-3's decontamination has them: lower case, punctuation removed, parted by white space.

Twice, and both agree: as 64-bit hashes from UTF-8 bytes, for speed, and as strings, for proof.
"""

from __future__ import annotations

import functools
import unicodedata

import numba
import numpy as np

REMOVED, SPACE = 0, 32
PLANE = 0x10000  # code points above it (rare scripts, emoji) stand for themselves
FNV_OFFSET = np.uint64(0xCBF29CE484222325)
FNV_PRIME = np.uint64(0x100000001B3)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)  # splitmix64's finaliser
MIX_2 = np.uint64(0x94D049BB133111EB)
BASE = np.uint64(0x9E3779B97F4A7C15)  # of the polynomial over words, modulo 2**64


def fold(character: str) -> str:
    """What a character counts as: its lower case, a space, or nothing (punctuation, symbols, what has no width)."""
    category = unicodedata.category(character)
    if character.isspace() or category in ("Zs", "Zl", "Zp", "Cc"):
        return " "
    if category[0] in "PS" or category == "Cf":
        return ""
    return character.lower()[0]


@functools.cache
def fold_table() -> np.ndarray:
    """`fold` of every code point below PLANE, uint32, for the kernels."""
    folded = (fold(chr(code)) for code in range(PLANE))
    return np.array([ord(character) if character else REMOVED for character in folded], dtype=np.uint32)


@functools.cache
def _translation() -> dict[int, int | None]:
    table = fold_table()
    changed = np.flatnonzero(table != np.arange(PLANE))
    return {int(code): int(table[code]) or None for code in changed}


def split_words(text: str) -> list[str]:
    """The normalised words of a text, as strings."""
    return text.translate(_translation()).split()


def as_bytes(text: str) -> np.ndarray:
    """UTF-8 as the kernels read it, uint8."""
    return np.frombuffer(text.encode("utf-8"), dtype=np.uint8)


@numba.njit(cache=True, inline="always")
def mix(value):  # noqa: ANN001, ANN201 - numba's own types
    value = (value ^ (value >> np.uint64(30))) * MIX_1
    value = (value ^ (value >> np.uint64(27))) * MIX_2
    return value ^ (value >> np.uint64(31))


@numba.njit(cache=True)
def hash_words(text: np.ndarray, folds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each normalised word: its hash (uint64), and where it begins and ends in the bytes (int64)."""
    size = len(text)
    hashes = np.empty(size // 2 + 1, dtype=np.uint64)
    starts = np.empty(size // 2 + 1, dtype=np.int64)
    ends = np.empty(size // 2 + 1, dtype=np.int64)
    count = 0
    hash_ = FNV_OFFSET
    inside = False
    at = 0
    while at < size:
        byte = np.uint32(text[at])
        length = 1
        code = byte
        if byte >= 0xF0:
            length = 4
            code = byte & np.uint32(0x07)
        elif byte >= 0xE0:
            length = 3
            code = byte & np.uint32(0x0F)
        elif byte >= 0xC0:
            length = 2
            code = byte & np.uint32(0x1F)
        for follower in range(at + 1, min(at + length, size)):
            code = (code << np.uint32(6)) | (np.uint32(text[follower]) & np.uint32(0x3F))
        folded = folds[code] if code < PLANE else code
        if folded == SPACE:
            if inside:
                hashes[count] = mix(hash_)
                count += 1
                hash_ = FNV_OFFSET
                inside = False
        elif folded != REMOVED:
            if not inside:
                starts[count] = at
                inside = True
            hash_ = (hash_ ^ np.uint64(folded)) * FNV_PRIME
            ends[count] = at + length
        at += length
    if inside:
        hashes[count] = mix(hash_)
        count += 1
    return hashes[:count], starts[:count], ends[:count]


@numba.njit(cache=True)
def gram_hashes(words: np.ndarray, width: int) -> np.ndarray:
    """A hash of each run of `width` words, uint64: a polynomial over their hashes, which rolls, and the width."""
    count = len(words) - width + 1
    if count < 1:
        return np.empty(0, dtype=np.uint64)
    power = np.uint64(1)
    rolling = np.uint64(0)
    for at in range(width):
        power *= BASE
        rolling = rolling * BASE + words[at]
    grams = np.empty(count, dtype=np.uint64)
    grams[0] = mix(rolling + np.uint64(width))
    for first in range(1, count):
        rolling = rolling * BASE + words[first + width - 1] - power * words[first - 1]
        grams[first] = mix(rolling + np.uint64(width))
    return grams
