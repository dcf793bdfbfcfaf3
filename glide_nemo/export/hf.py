"""The Hugging Face step: a Megatron checkpoint as a directory that is a LlamaForCausalLM to every runtime."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glide_nemo.artifact import Artifact, Draft, copy_atomically, write_atomically
from glide_nemo.errors import GlideError
from glide_nemo.export.hf_config import generation_config, model_config, read_config
from glide_nemo.export.intact import require_intact, require_space
from glide_nemo.export.llama_names import llama_weights
from glide_nemo.export.torch_dist import TorchDistCheckpoint
from glide_nemo.export.weights import MAX_SHARD_BYTES, write_weights
from glide_nemo.model.architecture import GlideArchitecture
from glide_nemo.model.iterations import latest_iteration
from glide_nemo.steps import run_step
from glide_nemo.training.lineage import ORIGIN, context_of, tokenizer_of
from glide_nemo.training.pretrain import weights_of

if TYPE_CHECKING:
    import torch

DTYPES = ("auto", "float32", "bfloat16", "float16")
TOKENIZER_FILES = ("tokenizer.model", "tokenizer.json", "tokenizer_config.json")


@dataclass
class HfConfig:
    """`dtype` of the weights: auto is the one that the model was trained in. `weights`: trained, or their average."""

    dtype: str = "auto"
    weights: str = "trained"
    max_shard_bytes: int = MAX_SHARD_BYTES

    def check(self) -> None:
        if self.dtype not in DTYPES:
            raise GlideError(f"unknown dtype '{self.dtype}': choose one of {', '.join(DTYPES)}")
        if self.weights not in ("trained", "ema"):
            raise GlideError(f"unknown weights '{self.weights}': choose trained or ema")
        if self.max_shard_bytes < 1:
            raise GlideError(f"max_shard_bytes={self.max_shard_bytes} must be positive: choose another value")


def export_hf(config: HfConfig, checkpoint: Artifact, out: str | os.PathLike[str], *, force: bool = False) -> Artifact:
    """Writes safetensors, config.json, generation_config.json and the tokenizer with its chat template.

    The vocabulary has the tokenizer's size: rows that pad it for training are left out.
    Metrics: `recipe` (trained by), `objective`, `architecture`, `parameters` (as exported), `dtype`, `bytes`,
    `vocab_size`.

    Raises GlideError where the checkpoint cannot be read or its tokenizer has been moved.
    """
    config.check()
    architecture = GlideArchitecture(**checkpoint.metrics["architecture"])
    dtype = config.dtype
    if dtype == "auto":
        dtype = "bfloat16" if checkpoint.config.get("mixed_precision") else "float32"
    files, contents = _around_the_weights(checkpoint, architecture, dtype)
    vocab_size = contents["config.json"]["vocab_size"]
    weights = weights_of(checkpoint, config.weights)

    def write(draft: Draft) -> None:
        require_intact(checkpoint, weights.name)
        written = convert(weights, architecture, vocab_size, dtype, draft.path, config.max_shard_bytes)
        for path in files:
            copy_atomically(path, draft.path / path.name)
        for name, content in contents.items():
            write_atomically(draft.path / name, json.dumps(content, indent=1) + "\n")
        draft.metrics = {
            "recipe": checkpoint.metrics["recipe"],
            "objective": checkpoint.metrics["objective"],
            "architecture": checkpoint.metrics["architecture"],
            "dtype": dtype,
            "vocab_size": vocab_size,
        } | written
        draft.summary = f"LlamaForCausalLM, {written['parameters'] / 1e6:,.2f} M parameters in {dtype}"

    return run_step("hf", out, "model", config, {"checkpoint": checkpoint}, write, force=force)


def _around_the_weights(
    checkpoint: Artifact, architecture: GlideArchitecture, dtype: str
) -> tuple[list[Path], dict[str, dict[str, Any]]]:
    """Files to copy, and contents of files to write, by name. An imported checkpoint keeps those that came with it."""
    origin = checkpoint.path / ORIGIN
    if origin.is_dir():
        stated = read_config(origin) | {"dtype": dtype, "torch_dtype": dtype}
        return sorted(path for path in origin.iterdir() if path.name != "config.json"), {"config.json": stated}
    tokenizer = tokenizer_of(checkpoint)
    ids = tokenizer.metrics["special"]
    stated = model_config(architecture, tokenizer.metrics["vocab_size"], ids, dtype)
    stated["max_position_embeddings"] = context_of(checkpoint)
    files = [tokenizer.path / name for name in TOKENIZER_FILES]
    return files, {"config.json": stated, "generation_config.json": generation_config(ids)}


def convert(
    checkpoints: Path, architecture: GlideArchitecture, vocab_size: int, dtype: str, out: Path, max_shard_bytes: int
) -> dict[str, int]:
    """Writes the weights, one file of them in memory and of the checkpoint one layer. How many parameters and bytes.

    Raises GlideError where the disk has no room for them.
    """
    import torch

    kind = getattr(torch, dtype)
    padding = (architecture.padded_vocab_size - vocab_size) * architecture.hidden_size
    require_space(out, (architecture.parameters - padding) * kind.itemsize)
    exported = 0

    def weights() -> Iterator[tuple[str, torch.Tensor]]:
        nonlocal exported
        for name, weight in llama_weights(TorchDistCheckpoint(latest_iteration(checkpoints)), architecture, vocab_size):
            exported += weight.numel()
            # A copy of its own: safetensors refuses views into a larger tensor.
            yield name, weight.to(kind, copy=True, memory_format=torch.contiguous_format)

    written = write_weights(out, weights(), max_shard_bytes)
    return {"parameters": exported, "bytes": written}
