"""The index: hashed n-grams of all items, sorted, with the items that each stands in; memory-mapped by workers.

Size: for each distinct n-gram 8 bytes of hash and 4 of offset, for each place it stands in 4 more, 4 to 8 bytes of
filter, and the items' own text. 40,000 items of common benchmarks (1.1 million n-grams) take about 30 MB, shared by
all processes of a machine.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pyarrow as pa

from curator_pipelines.decontamination.items import Item
from curator_pipelines.decontamination.words import as_bytes, fold_table, gram_hashes, hash_words
from glide_nemo.artifact import write_atomically
from glide_nemo.errors import GlideError

ARRAYS = ("grams", "offsets", "owners", "filter")
ITEMS, SETTINGS = "items.arrow", "index.json"
FILTER_BITS = 32  # a gram, at least: 1 of 32 grams that no item holds gets past it
MAX_GRAMS = 1 << 31


@dataclass(frozen=True)
class Index:
    """An index as it lies on disk; arrays are mapped, not read."""

    grams: np.ndarray  # uint64, sorted, distinct
    offsets: np.ndarray  # uint32: gram i stands in owners[offsets[i]:offsets[i + 1]]
    owners: np.ndarray  # uint32: numbers of items
    filter: np.ndarray  # uint64: a bit for the leading bits of each gram
    widths: np.ndarray  # int64: lengths of grams in words, ascending
    items: pa.Table  # benchmark, id, text, grams (how many distinct ones of it the index holds)

    @property
    def filter_shift(self) -> int:
        return 64 - (len(self.filter) * 64).bit_length() + 1


def write_index(folder: Path, items: Sequence[Item], *, ngram: int, min_words: int, max_items: int) -> dict[str, Any]:
    """Writes the index of the items; returns what became of them, by benchmark.

    An item of at least `ngram` words has all its n-grams; a shorter one is a single gram of all its words, unless it
    has fewer than `min_words`. Grams of more than `max_items` different items are left out. Where that leaves an item
    none, or another item of the benchmark has the same words, it is counted and cannot be found.

    Raises GlideError where no item is left.
    """
    folds = fold_table()
    counts: dict[str, Counter] = {}
    kept: list[Item] = []
    hashed: list[np.ndarray] = []
    widths: set[int] = set()
    seen: set[tuple[str, bytes]] = set()
    number_of: dict[bytes, int] = {}
    texts: list[int] = []  # of each kept item: which text, as equal items of two benchmarks are one to `max_items`
    for item in items:
        words, _, _ = hash_words(as_bytes(item.text), folds)
        count = counts.setdefault(item.benchmark, Counter(items=0, indexed=0, short=0, common=0, duplicates=0))
        count["items"] += 1
        key = words.tobytes()
        if len(words) < min_words:
            count["short"] += 1
        elif (item.benchmark, key) in seen:
            count["duplicates"] += 1
        else:
            seen.add((item.benchmark, key))
            texts.append(number_of.setdefault(key, len(number_of)))
            width = min(ngram, len(words))
            widths.add(width)
            kept.append(item)
            hashed.append(np.unique(gram_hashes(words, width)))
    grams, offsets, owners = _postings(hashed, np.array(texts, dtype=np.uint32), max_items)
    if not len(grams):
        raise GlideError(f"no item to look for among {len(items):,}: pass items of at least {min_words} words")
    own = np.bincount(owners, minlength=len(kept)).astype(np.int32)
    for item, of_item in zip(kept, own, strict=True):
        counts[item.benchmark]["indexed" if of_item else "common"] += 1
    arrays = {"grams": grams, "offsets": offsets, "owners": owners, "filter": _filter(grams)}
    for name, array in arrays.items():
        _write_array(folder / f"{name}.npy", array)
    _write_items(folder / ITEMS, kept, own)
    settings = {"ngram": ngram, "min_words": min_words, "max_items": max_items, "widths": sorted(widths)}
    write_atomically(folder / SETTINGS, json.dumps(settings))
    return {benchmark: dict(count) for benchmark, count in sorted(counts.items())}


def open_index(folder: str | os.PathLike[str]) -> Index:
    """Maps an index into memory. Raises GlideError where there is none."""
    folder = Path(folder)
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        arrays = {name: np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in ARRAYS}
        items = pa.ipc.open_file(pa.memory_map(str(folder / ITEMS))).read_all()
    except (FileNotFoundError, NotADirectoryError):
        raise GlideError(f"no index of benchmarks, {folder}: write one with glide decontam fetch") from None
    except (ValueError, pa.ArrowInvalid) as error:
        raise GlideError(f"unreadable index of benchmarks, {folder} ({error}): fetch it again") from error
    return Index(**arrays, widths=np.array(settings["widths"], dtype=np.int64), items=items)


def _postings(hashed: list[np.ndarray], texts: np.ndarray, max_items: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(distinct grams, offsets, owners), sorted by gram, then by item."""
    sizes = [len(grams) for grams in hashed]
    if sum(sizes) >= MAX_GRAMS:
        raise GlideError(f"{sum(sizes):,} n-grams are more than an index holds ({MAX_GRAMS:,}): fetch fewer benchmarks")
    every = np.concatenate([np.empty(0, dtype=np.uint64), *hashed])
    owners = np.repeat(np.arange(len(hashed), dtype=np.uint32), sizes)
    order = np.argsort(every, kind="stable")
    every, owners = every[order], owners[order]
    first = np.flatnonzero(np.concatenate([[True], every[1:] != every[:-1]]))[: len(every)]
    sizes_of = np.diff(np.append(first, len(every)))
    pairs = np.unique(np.stack([np.repeat(np.arange(len(first)), sizes_of), texts[owners]]), axis=1)[0]
    common = np.bincount(pairs, minlength=len(first)) > max_items
    owners = owners[~np.repeat(common, sizes_of)]
    offsets = np.append(0, np.cumsum(sizes_of[~common])).astype(np.uint32)
    return every[first[~common]], offsets, owners


def _filter(grams: np.ndarray) -> np.ndarray:
    """Bits addressed by a gram's leading bits: as many as the power of two from FILTER_BITS a gram on."""
    exponent = max(6, (len(grams) * FILTER_BITS - 1).bit_length())
    bits = np.zeros(1 << (exponent - 3), dtype=np.uint8)
    at = grams >> np.uint64(64 - exponent)
    np.bitwise_or.at(bits, (at >> np.uint64(3)).astype(np.int64), np.uint8(1) << (at & np.uint64(7)).astype(np.uint8))
    return bits.view("<u8")


def _write_array(path: Path, array: np.ndarray) -> None:
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "wb") as file:
        np.save(file, array)
    os.replace(partial, path)


def _write_items(path: Path, items: Sequence[Item], grams: np.ndarray) -> None:
    table = pa.table(
        {
            "benchmark": pa.array([item.benchmark for item in items], pa.string()),
            "id": pa.array([item.id for item in items], pa.string()),
            "text": pa.array([item.text for item in items], pa.large_string()),
            "grams": pa.array(grams, pa.int32()),
        }
    )
    partial = path.with_name(f".{path.name}.partial")
    with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    os.replace(partial, path)


@numba.njit(cache=True)
def scan(
    text: np.ndarray, folds: np.ndarray, widths: np.ndarray, grams: np.ndarray, filter_: np.ndarray, shift: int
) -> np.ndarray:
    """Where grams of the index stand in UTF-8 text: (first word, width, number of the gram), int64, in that order."""
    words, _, _ = hash_words(text, folds)
    hits = np.empty((0, 3), dtype=np.int64)
    count = 0
    for which in range(len(widths)):
        width = widths[which]
        for first, gram in enumerate(gram_hashes(words, width)):
            bit = gram >> np.uint64(shift)
            if not (filter_[bit >> np.uint64(6)] >> (bit & np.uint64(63))) & np.uint64(1):
                continue
            low, high = 0, len(grams)
            while low < high:
                middle = (low + high) // 2
                if grams[middle] < gram:
                    low = middle + 1
                else:
                    high = middle
            if low < len(grams) and grams[low] == gram:
                if count == len(hits):
                    grown = np.empty((max(16, 2 * count), 3), dtype=np.int64)
                    grown[:count] = hits
                    hits = grown
                hits[count, 0] = first
                hits[count, 1] = width
                hits[count, 2] = low
                count += 1
    return hits[:count]
