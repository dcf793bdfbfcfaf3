"""The Hugging Face step: a Megatron checkpoint as a directory that is a LlamaForCausalLM to every runtime."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glide_nemo.artifact import Artifact, Draft, write_atomically
from glide_nemo.errors import GlideError
from glide_nemo.export.hf_config import generation_config, model_config
from glide_nemo.export.weights import write_weights
from glide_nemo.model.architecture import GlideArchitecture
from glide_nemo.steps import run_step
from glide_nemo.training.lineage import context_of, tokenizer_of
from glide_nemo.training.pretrain import weights_of
from glide_nemo.training.worker import run_with_megatron

DTYPES = ("auto", "float32", "bfloat16", "float16")
TOKENIZER_FILES = ("tokenizer.model", "tokenizer.json", "tokenizer_config.json")


@dataclass
class HfConfig:
    """`dtype` of the weights: auto is the one that the model was trained in. `weights`: trained, or their average."""

    dtype: str = "auto"
    weights: str = "trained"
    max_shard_bytes: int = 5_000_000_000

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
    tokenizer = tokenizer_of(checkpoint)
    architecture = GlideArchitecture(**checkpoint.metrics["architecture"])
    dtype = config.dtype
    if dtype == "auto":
        dtype = "bfloat16" if checkpoint.config.get("mixed_precision") else "float32"
    vocab_size = tokenizer.metrics["vocab_size"]

    def write(draft: Draft) -> None:
        stated = model_config(architecture, vocab_size, tokenizer.metrics["special"], dtype)
        stated["max_position_embeddings"] = context_of(checkpoint)
        written = run_with_megatron(
            convert, weights_of(checkpoint, config.weights), architecture, dtype, draft.path, config.max_shard_bytes,
            log=draft.logs / "megatron.log",
        )  # fmt: skip
        for name in TOKENIZER_FILES:
            shutil.copyfile(tokenizer.path / name, draft.path / f".{name}.partial")
            os.replace(draft.path / f".{name}.partial", draft.path / name)
        for name, content in (
            ("config.json", stated),
            ("generation_config.json", generation_config(tokenizer.metrics["special"])),
        ):
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


def convert(
    checkpoints: Path,
    architecture: GlideArchitecture,
    dtype: str,
    out: Path,
    max_shard_bytes: int,
    report: Callable[[dict[str, Any]], None],
) -> dict[str, int]:
    """Writes the weights; runs where Megatron is (`run_with_megatron`). Returns how many parameters and bytes."""
    import torch

    from glide_nemo.model.bridge import hugging_face_config, hugging_face_weights, loaded_model

    exported = 0

    def weights(model: Any) -> Iterator[tuple[str, Any]]:
        nonlocal exported
        embedding = None
        for name, weight in hugging_face_weights(model, hugging_face_config(architecture, architecture.seq_length)):
            if name == "model.embed_tokens.weight":
                embedding = weight
            if name == "lm_head.weight":  # tied: the embedding is all there is
                if not torch.equal(weight, embedding):
                    raise GlideError(f"{checkpoints} has an output layer of its own: only tied ones are exported")
                continue
            exported += weight.numel()
            # A copy of its own: safetensors refuses views into a larger tensor.
            yield name, weight.detach().to(getattr(torch, dtype), copy=True).contiguous()

    with loaded_model(checkpoints) as model:
        written = write_weights(out, weights(model), max_shard_bytes)
    return {"parameters": exported, "bytes": written}
