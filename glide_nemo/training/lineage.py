"""Where a checkpoint comes from: the phases before it, its tokenizer, and the tokens that it was pretrained on."""

from __future__ import annotations

from collections.abc import Iterator

from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError
from glide_nemo.model.architecture import GlideArchitecture

ORIGIN = "huggingface"  # of an imported checkpoint: the config and tokenizer files that came with its weights


def lineage(checkpoint: Artifact) -> Iterator[Artifact]:
    """The checkpoint, the one it started from, and so on to the first."""
    yield checkpoint
    while "init_from" in checkpoint.record["inputs"]:
        checkpoint = checkpoint.input("init_from")
        yield checkpoint


def tokenizer_of(checkpoint: Artifact) -> Artifact:
    """The tokenizer whose tokens the checkpoint was trained on, or that it was imported with."""
    if "tokenizer" in checkpoint.record["inputs"]:
        return checkpoint.input("tokenizer")
    return checkpoint.input("tokens").input("tokenizer")


def pretraining_tokens(checkpoint: Artifact) -> Artifact:
    """The packed documents that the checkpoint, or the one that it was fine-tuned from, was last pretrained on.

    GlideError where no phase of its lineage was trained on documents.
    """
    for trained in lineage(checkpoint):
        if (trained.path / ORIGIN).is_dir():
            break  # imported: what it was pretrained on did not come with it
        tokens = trained.input("tokens")
        if "corpus" in tokens.record["inputs"]:
            return tokens
    raise GlideError(f"{checkpoint.path} comes from no checkpoint that was pretrained on documents: pass one that does")


def context_of(checkpoint: Artifact) -> int:
    """Tokens that the model looks at: fine-tuning may train on shorter ones than its model was stretched to."""
    architecture = GlideArchitecture(**checkpoint.metrics["architecture"])
    stretched = int(architecture.rope_original_context * architecture.rope_scaling_factor)
    return max(checkpoint.metrics["seq_length"], stretched)
