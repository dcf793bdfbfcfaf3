"""Writes Megatron-Core's indexed dataset (`.bin` and `.idx`) without importing Megatron, which takes twenty seconds.

The format is megatron/core/datasets/indexed_dataset.py's, byte for byte (a test compares the files):

    .bin  the tokens of all documents, one after the other, little endian
    .idx  "MMIDIDX\\0\\0", u64 version 1, u8 token type, u64 sequences, u64 documents + 1,
          i32 length of each sequence in tokens, i64 offset of each sequence in .bin in bytes,
          i64 for each document the number of its first sequence, then the number of sequences

GLiDE writes one sequence a document.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy

TOKEN_TYPES = {"int32": 4, "uint16": 8}  # Megatron-Core's codes (its DType)
CHUNK = 1 << 20  # documents whose index is built at a time


def token_type(vocab_size: int) -> str:
    """The type Megatron-Core itself would choose (`DType.optimal_dtype`)."""
    return "uint16" if vocab_size < 65_500 else "int32"


def write_index(path: Path, lengths: numpy.ndarray, dtype: str) -> None:
    """Writes the `.idx` for documents of these lengths (int32, in tokens; may be a memory map), atomically."""
    import numpy

    documents = len(lengths)
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "wb") as file:
        file.write(b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, TOKEN_TYPES[dtype], documents, documents + 1))
        for start in range(0, documents, CHUNK):
            file.write(lengths[start : start + CHUNK].astype("<i4").tobytes())
        offset = 0
        for start in range(0, documents, CHUNK):
            ends = offset + numpy.cumsum(lengths[start : start + CHUNK], dtype="<i8") * numpy.dtype(dtype).itemsize
            file.write(numpy.concatenate([[offset], ends[:-1]]).astype("<i8").tobytes())
            offset = int(ends[-1])
        for start in range(0, documents + 1, CHUNK):
            file.write(numpy.arange(start, min(start + CHUNK, documents + 1), dtype="<i8").tobytes())
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
