"""Packed conversations as Megatron-Bridge's data: micro batches of one long row, and where each example in it ends.

A micro batch is what Megatron calls `thd`: its rows joined end to end, with `cu_seqlens` between the examples.
Attention and positions begin anew at each; padding is one more example, of which nothing is learnt.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from megatron.bridge.data.base import DatasetBuildContext, DatasetProvider

from glide_nemo.data.epochs import ENDLESS, ShuffledEpochs
from glide_nemo.data.packed import PackedRows, read_rows

Sample = dict[str, Any]


@dataclass
class PackedConversations(DatasetProvider):
    """The rows that `glide conversations` wrote; `directory` and `dtype` are those of the run."""

    seq_length: int = 256
    random_seed: int = 1234  # of the order of rows, another one in each epoch
    directory: str | None = None
    dtype: str = "uint16"
    # False hands the batch to the middle stages of a pipeline too, which need to know where examples end.
    skip_getting_attention_mask_from_dataset: bool = True

    def build_datasets(self, context: DatasetBuildContext) -> tuple[Any, Any, None]:
        train, heldout = (self.read(split) for split in ("train", "heldout"))
        return (
            ShuffledRows(train, self.random_seed, context.train_samples),
            HeldoutRows(heldout, context.test_samples),
            None,
        )

    def read(self, split: str) -> PackedRows:
        """The rows of a split. GlideError where there are none, or of another length."""
        return read_rows(Path(self.directory), split, self.seq_length, self.dtype)


class ShuffledRows(torch.utils.data.Dataset):
    """Epochs of all rows, each in an order of its own: sample i is the same in every run, resumed or not."""

    def __init__(self, rows: PackedRows, seed: int, samples: int) -> None:
        self.rows, self.samples = rows, samples
        self.order = ShuffledEpochs(len(rows), seed)

    def __len__(self) -> int:
        return self.samples + 1  # Megatron's sampler refuses to go on from the very end, as a finished run does

    def __getitem__(self, sample: int) -> Sample:
        return row_sample(self.rows, self.order[sample])

    def documents(self, sample: int) -> list[int]:
        """Numbers of the examples in a sample, in their order."""
        row = self.order[sample]
        return list(range(int(self.rows.rows[row]), int(self.rows.rows[row + 1])))

    def collate_fn(self, samples: list[Sample]) -> dict[str, torch.Tensor]:
        return joined(samples)


class HeldoutRows(torch.utils.data.Dataset):
    """The same rows in every evaluation of `samples`, each once; what is left of the last batch is empty."""

    def __init__(self, rows: PackedRows, samples: int) -> None:
        self.rows, self.samples = rows, samples

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, sample: int) -> Sample:
        row = sample % self.samples
        if row < len(self.rows):
            return row_sample(self.rows, row)
        empty = row_sample(self.rows, 0)
        return empty | {"learnt": numpy.zeros_like(empty["learnt"])}

    def collate_fn(self, samples: list[Sample]) -> dict[str, torch.Tensor]:
        return joined(samples)


def row_sample(rows: PackedRows, row: int) -> Sample:
    """A row's tokens, which of them are learnt, and the lengths of its examples with its padding as the last one."""
    lengths = rows.example_lengths(row)
    left = rows.tokens.shape[1] - int(lengths.sum())
    return {
        "tokens": rows.tokens[row].astype("int64"),
        "learnt": rows.learnt[row].astype("float32"),
        "lengths": numpy.append(lengths, left) if left else numpy.asarray(lengths),
    }


def joined(samples: list[Sample]) -> dict[str, torch.Tensor]:
    """A micro batch in Megatron's thd form: tensors of shape (1, samples * seq_length), and `cu_seqlens`.

    A token is learnt where the one before it is read. The first of an example never is (it opens a turn), so that no
    loss crosses from one example to the next.
    """
    tokens_T = numpy.concatenate([sample["tokens"] for sample in samples])
    learnt_T = numpy.concatenate([sample["learnt"] for sample in samples])
    lengths = numpy.concatenate([sample["lengths"] for sample in samples])
    ends = numpy.cumsum(lengths)
    positions_T = numpy.arange(len(tokens_T)) - numpy.repeat(ends - lengths, lengths)
    next_tokens_T, next_learnt_T = numpy.roll(tokens_T, -1), numpy.roll(learnt_T, -1)
    next_learnt_T[ends - 1] = 0.0
    longest = torch.tensor(len(samples[0]["tokens"]), dtype=torch.int32)  # the same in every batch
    borders = torch.from_numpy(numpy.concatenate([[0], ends]).astype("int32"))
    rows = {"tokens": tokens_T, "labels": next_tokens_T, "loss_mask": next_learnt_T, "position_ids": positions_T}
    return {name: torch.from_numpy(array).unsqueeze(0) for name, array in rows.items()} | {
        "cu_seqlens_q": borders,
        "cu_seqlens_kv": borders,
        "max_seqlen_q": longest,
        "max_seqlen_kv": longest,
    }
