"""Files of packed examples: rows of one length in Megatron's `.bin/.idx`, which tokens to learn, where examples end.

{split}.bin, .idx      rows of seq_length tokens, padded at the end, each a document to Megatron-Core
{split}.learnt.npy     uint8 (rows, seq_length): 1 where the token is one that the assistant wrote
{split}.lengths.npy    int32: tokens of each example, row after row
{split}.rows.npy       int64 (rows + 1): the number of the first example of each row
{split}.lines.npy      int64 (examples, 2): which of the files that were given each is of, and its line, from 1
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glide_nemo.data.indexed import write_index
from glide_nemo.errors import GlideError

if TYPE_CHECKING:
    import numpy

Example = tuple["numpy.ndarray", "numpy.ndarray"]  # tokens, and of each whether it is learnt


@dataclass(frozen=True)
class PackedRows:
    """The rows of a split, mapped from disk."""

    tokens: numpy.ndarray  # (rows, seq_length)
    learnt: numpy.ndarray  # (rows, seq_length), uint8
    lengths: numpy.ndarray
    rows: numpy.ndarray

    def __len__(self) -> int:
        return len(self.tokens)

    def example_lengths(self, row: int) -> numpy.ndarray:
        """Tokens of each example of a row, in order; what is left of the row is padding."""
        return self.lengths[self.rows[row] : self.rows[row + 1]]


def write_rows(
    directory: Path, split: str, rows: Sequence[Sequence[int]], examples: Sequence[Example], seq_length: int,
    pad: int, dtype: str,
) -> None:  # fmt: skip
    """Writes the files of a split: `rows` of numbers of `examples`. Each appears under its name when whole."""
    import numpy

    lengths = [len(examples[number][0]) for row in rows for number in row]
    firsts = numpy.cumsum([0, *map(len, rows)])
    learnt = numpy.zeros((len(rows), seq_length), "uint8")
    partial = directory / f".{split}.bin.partial"
    with open(partial, "wb") as file:
        for row, numbers in enumerate(rows):
            tokens = numpy.full(seq_length, pad, dtype)
            at = 0
            for ids, written in (examples[number] for number in numbers):
                tokens[at : at + len(ids)] = ids
                learnt[row, at : at + len(ids)] = written
                at += len(ids)
            tokens.tofile(file)
    os.replace(partial, directory / f"{split}.bin")
    write_index(directory / f"{split}.idx", numpy.full(len(rows), seq_length, "<i4"), dtype)
    for name, array in {
        "learnt": learnt,
        "lengths": numpy.array(lengths, "<i4"),
        "rows": firsts.astype("<i8"),
    }.items():
        save(directory, f"{split}.{name}", array)


def save(directory: Path, name: str, array: numpy.ndarray) -> None:
    """Writes `{name}.npy`, which appears under its name when whole."""
    import numpy

    with open(directory / f".{name}.partial", "wb") as file:
        numpy.save(file, array)
    os.replace(directory / f".{name}.partial", directory / f"{name}.npy")


def read_rows(directory: Path, split: str, seq_length: int, dtype: str) -> PackedRows:
    """Maps a split. GlideError where the directory holds no packed examples, or rows of another length."""
    import numpy

    try:
        learnt, lengths, rows = (
            numpy.load(directory / f"{split}.{name}.npy", mmap_mode="r") for name in ("learnt", "lengths", "rows")
        )
    except FileNotFoundError:
        raise GlideError(f"no packed conversations in {directory}: make them with `glide conversations`") from None
    if learnt.shape[1] != seq_length:
        raise GlideError(
            f"the conversations in {directory} are packed into {learnt.shape[1]} tokens and the recipe trains on "
            f"{seq_length}: pack them again with seq_length={seq_length}"
        )
    tokens = numpy.memmap(directory / f"{split}.bin", dtype, mode="r").reshape(learnt.shape)
    return PackedRows(tokens, learnt, lengths, rows)
