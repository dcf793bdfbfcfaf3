"""Pretraining: the next token of packed documents, by Megatron-Bridge's own forward step."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from megatron.bridge.training.gpt_step import forward_step

from glide_nemo.errors import GlideError

if TYPE_CHECKING:
    from megatron.bridge.training.callbacks import Callback
    from megatron.bridge.training.config import ConfigContainer

    from glide_nemo.training.run_recipe import Paths

__all__ = ["callbacks", "forward_step", "prepare"]


def prepare(config: ConfigContainer, paths: Paths) -> None:
    """Trains on the split `train` and evaluates on `heldout`, both in the shares of the blend.

    With `dataset.reset_attention_mask=true` no token attends to another document's. Raises GlideError where the layers
    or the layout cannot keep documents apart.
    """
    if config.dataset.reset_attention_mask:
        _keep_documents_apart(config)
    folders = [paths.tokens, *(path for path, _ in paths.blended_in)]
    shares = [share for _, share in paths.blended_in]
    shares = [1.0 - sum(shares), *shares] if shares else None
    config.dataset.blend_per_split = [
        ([str(folder / "train") for folder in folders], shares),
        ([str(folder / "heldout") for folder in folders], shares),
        None,
    ]
    config.dataset.path_to_cache = str(paths.out / ".index_cache")


def _keep_documents_apart(config: ConfigContainer) -> None:
    off = "pass dataset.reset_attention_mask=false"
    if importlib.util.find_spec("transformer_engine") is not None:
        raise GlideError(f"Transformer Engine's causal attention takes no mask of documents: {off}")
    if config.model.context_parallel_size > 1:
        raise GlideError(f"documents are not kept apart over model.context_parallel_size > 1: set it to 1, or {off}")
    config.dataset.skip_getting_attention_mask_from_dataset = False


def callbacks(config: ConfigContainer, paths: Paths, report: Callable[[dict[str, Any]], None]) -> list[Callback]:
    return []
