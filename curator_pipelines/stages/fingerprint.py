"""What deduplication compares: a hash of each document's normalised text, its MinHash bands, its n-grams."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numba
import numpy as np
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch
from rensa import RMinHash

from curator_pipelines.ledger import conclude
from curator_pipelines.sketch import band_keys, sketch

FNV_OFFSET = np.uint64(0xCBF29CE484222325)
FNV_PRIME = np.uint64(0x100000001B3)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)  # splitmix64's finaliser
MIX_2 = np.uint64(0x94D049BB133111EB)


@dataclass
class Fingerprint(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Adds `text_hash` (16 bytes), `bands` (64-bit keys) and `sketch` (sorted 32-bit hashes of n-grams), as bytes."""

    ngram: int
    bands: int
    rows: int
    seed: int
    name: str = "fingerprint"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["text"]

    def outputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["text_hash", "bands", "sketch"]

    def process(self, batch: DocumentBatch) -> DocumentBatch:
        documents = batch.to_pandas().copy()
        texts = list(documents["text"])
        grams = [_grams(text, self.ngram) for text in texts]
        keys = band_keys(_digest(grams, self.bands * self.rows, self.seed), self.bands)
        # Of type object also where there is no document: pandas would make an empty list a column of floats.
        documents["text_hash"] = np.array([text_hash(text) for text in texts], dtype=object)
        documents["bands"] = np.array([row.tobytes() for row in keys], dtype=object)
        documents["sketch"] = np.array([sketch(hashes).tobytes() for hashes in grams], dtype=object)
        return conclude(batch, self.name, documents, metadata={"bands": self.bands})


def text_hash(text: str) -> bytes:
    """Equal for texts that differ in case and white space only."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode("utf-8")).digest()[:16]


def signatures(texts: list[str], ngram: int, permutations: int, seed: int) -> np.ndarray:
    """MinHash signatures over hashed word n-grams, shape (documents, permutations), uint32."""
    return _digest([_grams(text, ngram) for text in texts], permutations, seed)


def _grams(text: str, ngram: int) -> np.ndarray:
    return shingle(np.frombuffer(text.encode("utf-8"), dtype=np.uint8), ngram)


def _digest(grams: list[np.ndarray], permutations: int, seed: int) -> np.ndarray:
    if not grams:
        return np.empty((0, permutations), dtype=np.uint32)
    offsets = np.zeros(len(grams) + 1, dtype=np.uint64)
    np.cumsum([len(hashes) for hashes in grams], out=offsets[1:])
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(np.concatenate(grams), offsets, permutations, seed)
    return np.asarray(matrix.to_rows(), dtype=np.uint32)


@numba.njit(cache=True)
def shingle(text: np.ndarray, ngram: int) -> np.ndarray:
    """Hashes of the word n-grams of UTF-8 text, uint64; a text shorter than one n-gram has one, of all its words.

    Words are runs of ASCII letters (case folded), digits and bytes above 127.
    """
    words = np.empty(len(text) // 2 + 1, dtype=np.uint64)
    count = 0
    hash_ = FNV_OFFSET
    inside = False
    for byte in text:
        lower = byte + 32 if 65 <= byte <= 90 else byte
        if lower >= 128 or 97 <= lower <= 122 or 48 <= lower <= 57:
            hash_ = (hash_ ^ np.uint64(lower)) * FNV_PRIME
            inside = True
        elif inside:
            words[count] = hash_
            count += 1
            hash_ = FNV_OFFSET
            inside = False
    if inside:
        words[count] = hash_
        count += 1
    width = min(ngram, max(count, 1))
    grams = np.empty(max(1, count - width + 1), dtype=np.uint64)
    for first in range(len(grams)):
        gram = FNV_OFFSET
        for word in words[first : min(first + width, count)]:
            gram = (gram ^ word) * MIX_1
            gram = (gram ^ (gram >> np.uint64(31))) * MIX_2
        grams[first] = gram ^ (gram >> np.uint64(29))
    return grams
