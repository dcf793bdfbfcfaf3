"""Pretraining: the next token of packed documents, by Megatron-Bridge's own forward step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from megatron.bridge.training.gpt_step import forward_step

if TYPE_CHECKING:
    from megatron.bridge.training.callbacks import Callback
    from megatron.bridge.training.config import ConfigContainer

    from glide_nemo.training.loop import Paths

__all__ = ["callbacks", "forward_step", "prepare"]


def prepare(config: ConfigContainer, paths: Paths) -> None:
    """Trains on the split `train` and evaluates on `heldout`, both in the shares of the blend."""
    folders = [paths.tokens, *(path for path, _ in paths.blended_in)]
    shares = [share for _, share in paths.blended_in]
    shares = [1.0 - sum(shares), *shares] if shares else None
    config.dataset.blend_per_split = [
        ([str(folder / "train") for folder in folders], shares),
        ([str(folder / "heldout") for folder in folders], shares),
        None,
    ]
    config.dataset.path_to_cache = str(paths.out / ".index_cache")


def callbacks(config: ConfigContainer, paths: Paths, report: Callable[[dict[str, Any]], None]) -> list[Callback]:
    return []
