"""Tensors of a torch_dist checkpoint, a region at a time and at whatever layout it was saved; no model, no Megatron."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glide_nemo.errors import GlideError

if TYPE_CHECKING:
    import torch
    from torch.distributed.checkpoint.planner import ReadItem


@dataclass(frozen=True)
class Stored:
    """A tensor of the checkpoint as a whole, over all ranks that saved it."""

    shape: tuple[int, ...]
    dtype: torch.dtype


class TorchDistCheckpoint:
    """The tensors in one `iter_*` directory that Megatron-Core saved, by the names it saved them under.

    Raises GlideError where its `.metadata` cannot be read.
    """

    def __init__(self, iteration: Path) -> None:
        from torch.distributed.checkpoint import FileSystemReader
        from torch.distributed.checkpoint.metadata import TensorStorageMetadata

        self.path = iteration
        self._reader = FileSystemReader(iteration)
        try:
            metadata = self._reader.read_metadata()
        except (OSError, pickle.UnpicklingError, EOFError, AttributeError, ValueError) as error:
            raise GlideError(
                f"cannot read {iteration}/.metadata ({error}): pass a whole torch_dist checkpoint"
            ) from error
        self._reader.set_up_storage_reader(metadata, is_coordinator=True)
        entries = metadata.state_dict_metadata.items()
        self._entries = {name: entry for name, entry in entries if isinstance(entry, TensorStorageMetadata)}
        self.tensors = {
            name: Stored(tuple(entry.size), entry.properties.dtype) for name, entry in self._entries.items()
        }

    def read(self, name: str, offsets: Sequence[int], sizes: Sequence[int]) -> torch.Tensor:
        """The region of a tensor that begins at `offsets` and is of shape `sizes`, put together from the ranks' parts.

        Raises GlideError where a file of it is damaged or not there.
        """
        import torch
        from torch.distributed.checkpoint.metadata import ChunkStorageMetadata
        from torch.distributed.checkpoint.planner import LoadPlan
        from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list

        region = torch.empty(tuple(sizes), dtype=self.tensors[name].dtype)
        wanted = ChunkStorageMetadata(torch.Size(offsets), torch.Size(sizes))
        items = create_read_items_for_chunk_list(name, self._entries[name], [wanted])
        try:
            self._reader.read_data(LoadPlan(items), _Into(region)).wait()
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, AssertionError, KeyError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
            raise GlideError(f"cannot read {name} in {self.path} ({reason}): the checkpoint is damaged") from error
        return region

    def entry(self, name: str, index: Sequence[int] = ()) -> torch.Tensor:
        """The tensor at `index` of a stack; without one, all of a tensor that stands alone."""
        shape = self.tensors[name].shape[len(index) :]
        return self.read(name, (*index, *[0] * len(shape)), (*[1] * len(index), *shape)).view(shape)


class _Into:
    """Where the parts that were read go: what torch.distributed.checkpoint's reader asks of its planner.

    A class of its own and not one made in the function: that would be a cycle, and keep each region until collected.
    """

    def __init__(self, region: torch.Tensor) -> None:
        self.region = region

    def resolve_tensor(self, read_item: ReadItem) -> torch.Tensor:
        ranges = zip(read_item.dest_offsets, read_item.lengths, strict=True)
        return self.region[tuple(slice(start, start + length) for start, length in ranges)]

    def commit_tensor(self, read_item: ReadItem, tensor: torch.Tensor) -> None:
        """Nothing to do: the part was copied into the region."""
