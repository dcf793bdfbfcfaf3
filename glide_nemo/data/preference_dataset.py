"""Preference pairs as Megatron-Bridge's data: two padded rows a pair, chosen and rejected, which stay side by side.

Rows are numbered through both splits, training first, so that what is known of a row can be looked up by its number.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from megatron.bridge.data.base import DatasetBuildContext, DatasetProvider

from glide_nemo.data.epochs import ENDLESS, ShuffledEpochs
from glide_nemo.errors import GlideError

Sample = dict[str, numpy.ndarray]


@dataclass
class PreferencePairs(DatasetProvider):
    """The rows that the preferences step wrote; `directory`, `dtype` and `pad` are those of the run."""

    seq_length: int = 128
    random_seed: int = 1234  # of the order of pairs, another one in each epoch
    directory: str | None = None
    dtype: str = "uint16"
    pad: int = 0

    def build_datasets(self, context: DatasetBuildContext) -> tuple[Any, Any, None]:
        train, heldout = self.read("train"), self.read("heldout")
        return (
            ShuffledPairs(train, self.random_seed, context.train_samples),
            HeldoutPairs(heldout, context.test_samples),
            None,
        )

    def read(self, split: str) -> PairRows:
        """The rows of a split. GlideError where there are none, or longer ones than the context."""
        first = 0 if split == "train" else len(self.read("train"))
        return PairRows(Path(self.directory), split, self.seq_length, self.dtype, self.pad, first)


class PairRows:
    """The rows of a split, mapped from disk; row 2i is the chosen answer of pair i, row 2i + 1 the rejected one."""

    def __init__(self, directory: Path, split: str, seq_length: int, dtype: str, pad: int, first: int) -> None:
        self.seq_length, self.pad, self.first = seq_length, pad, first
        try:
            self.answers = numpy.load(directory / f"{split}.answers.npy", mmap_mode="r")
        except FileNotFoundError:
            raise GlideError(f"no preference pairs in {directory}: make them with `glide dpo`") from None
        index = (directory / f"{split}.idx").read_bytes()
        header = 34  # of the index: magic, version, type and two counts (data/indexed.py)
        self.lengths = numpy.frombuffer(index, "<i4", len(self.answers), header)
        self.ends = numpy.cumsum(self.lengths, dtype="<i8")
        self.tokens = numpy.memmap(directory / f"{split}.bin", dtype, mode="r")
        if int(self.lengths.max()) > seq_length + 1:
            raise GlideError(
                f"the pairs in {directory} are up to {int(self.lengths.max()) - 1} tokens long and the recipe trains "
                f"on {seq_length}: make them again with seq_length={seq_length}"
            )

    def __len__(self) -> int:
        return len(self.answers)

    def sample(self, row: int) -> Sample:
        """A row as model inputs; of its labels, `loss_mask` marks those of the answer and `text_mask` all of them."""
        length, answer = int(self.lengths[row]), int(self.answers[row])
        ids = self.tokens[self.ends[row] - length : self.ends[row]].astype("int64")
        tokens = numpy.full(self.seq_length + 1, self.pad, "int64")
        tokens[:length] = ids
        loss_mask, text_mask = numpy.zeros((2, self.seq_length), "float32")
        loss_mask[answer - 1 : length - 1] = 1
        text_mask[: length - 1] = 1
        return {
            "tokens": tokens[:-1],
            "labels": tokens[1:],
            "loss_mask": loss_mask,
            "text_mask": text_mask,
            "position_ids": numpy.arange(self.seq_length),
            "row": numpy.array(self.first + row),
        }


class ShuffledPairs(torch.utils.data.Dataset):
    """Epochs of all pairs, each in an order of its own: sample i is the same row in every run, resumed or not."""

    def __init__(self, rows: PairRows, seed: int, samples: int) -> None:
        self.rows, self.samples = rows, samples
        self.order = ShuffledEpochs(len(rows) // 2, seed)

    def __len__(self) -> int:
        return self.samples + 1  # Megatron's sampler refuses to go on from the very end, as a finished run does

    def __getitem__(self, sample: int) -> Sample:
        return self.rows.sample(2 * self.order[sample // 2] + sample % 2)

    def documents(self, sample: int) -> list[int]:
        """The number of the pair that a sample is a side of."""
        return [self.order[sample // 2]]


class HeldoutPairs(torch.utils.data.Dataset):
    """The same pairs in every evaluation of `samples` rows, each once; what is left of the last batch has no answer."""

    def __init__(self, rows: PairRows, samples: int) -> None:
        self.rows, self.samples = rows, samples

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, sample: int) -> Sample:
        row = sample % self.samples
        if row < len(self.rows):
            return self.rows.sample(row)
        empty = self.rows.sample(0)
        return empty | {name: numpy.zeros_like(empty[name]) for name in ("loss_mask", "text_mask")}
