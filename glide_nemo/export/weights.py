"""Weights as safetensors, one file or numbered ones: written with one file in memory, read with one tensor."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glide_nemo.artifact import write_atomically
from glide_nemo.errors import GlideError

if TYPE_CHECKING:
    import numpy
    from torch import Tensor

MAX_SHARD_BYTES = 5_000_000_000  # of one file, as transformers has it
FORMAT = {"format": "pt"}  # transformers refuses files that do not say it


def write_weights(out: Path, weights: Iterable[tuple[str, Tensor]], max_shard_bytes: int) -> int:
    """Writes `model.safetensors`, or `model-00001-of-0000N.safetensors` and their index; the number of bytes written.

    `weights` may be a generator; each name once. Every file appears under its name when it is whole.
    """
    for left in (*out.glob(".tmp*"), *out.glob(".shard-*")):  # of a run that was killed; the first are safetensors' own
        left.unlink()
    shards: list[list[str]] = []
    pending: dict[str, Tensor] = {}
    pending_bytes = total = 0

    def flush() -> None:
        nonlocal pending_bytes
        _save(pending, out / f".shard-{len(shards)}.partial")
        shards.append(list(pending))
        pending.clear()
        pending_bytes = 0

    for name, tensor in weights:
        if pending and pending_bytes + tensor.nbytes > max_shard_bytes:
            flush()
        pending[name] = tensor.contiguous()
        pending_bytes += tensor.nbytes
        total += tensor.nbytes
    flush()

    if len(shards) == 1:
        os.replace(out / ".shard-0.partial", out / "model.safetensors")
        return total
    placed = {}
    for number, names in enumerate(shards):
        final = f"model-{number + 1:05}-of-{len(shards):05}.safetensors"
        os.replace(out / f".shard-{number}.partial", out / final)
        placed |= dict.fromkeys(names, final)
    index = {"metadata": {"total_size": total}, "weight_map": placed}
    write_atomically(out / "model.safetensors.index.json", json.dumps(index, indent=1, sort_keys=True) + "\n")
    return total


def _save(weights: Mapping[str, Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    save_file(dict(weights), path, metadata=FORMAT)
    with open(path, "rb") as file:
        os.fsync(file.fileno())


class HuggingFaceWeights:
    """The weights in a Hugging Face directory, in one file or several.

    Raises GlideError where there are none, where they are pickled, or where a file is damaged or missing.
    """

    def __init__(self, directory: Path) -> None:
        import safetensors

        self._files: dict[str, Any] = {}  # the open file that holds each tensor
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, str] = {}  # as safetensors calls them: F32, BF16
        paths = sorted(directory.glob("model*.safetensors"))
        if pickled := sorted([*directory.glob("*.bin"), *directory.glob("*.pt"), *directory.glob("*.pth")]):
            raise GlideError(f"pickled weights, {pickled[0]}, run code where they are read: pass safetensors alone")
        if not paths:
            raise GlideError(f"no model*.safetensors in {directory}: pass a directory that `glide export` wrote")
        for path in paths:
            try:
                file = safetensors.safe_open(path, framework="pt")
            except (safetensors.SafetensorError, OSError) as error:
                raise GlideError(f"cannot read {path} ({error}): export the model again") from error
            for name in file.keys():  # noqa: SIM118, it is no dictionary
                self._files[name] = file
                self.shapes[name] = tuple(file.get_slice(name).get_shape())
                self.dtypes[name] = file.get_slice(name).get_dtype()
        self._check_index(directory)

    def _check_index(self, directory: Path) -> None:
        """GlideError where the index of several files names a tensor that none of them holds."""
        try:
            index = json.loads((directory / "model.safetensors.index.json").read_text(encoding="utf-8"))["weight_map"]
        except FileNotFoundError:
            return
        except (ValueError, KeyError) as error:
            raise GlideError(f"cannot read the index of the weights in {directory} ({error}): export again") from error
        lacking = sorted(set(index) - set(self.shapes))
        if lacking:
            raise GlideError(f"{directory} lacks {index[lacking[0]]}, which holds {lacking[0]}: export the model again")

    def tensor(self, name: str) -> Tensor:
        """A tensor as it is stored."""
        return self._files[name].get_tensor(name)

    def read(self, name: str) -> numpy.ndarray:
        """A tensor as float32, which holds every type it may be stored in."""
        return self.tensor(name).float().numpy()
