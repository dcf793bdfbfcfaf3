"""Dropout of nothing costs nothing: torch draws a random number for each value of the embedding all the same."""

from __future__ import annotations

from collections.abc import Callable

import torch

from glide_nemo.cpu.seams import Seams


def apply(seams: Seams) -> None:
    """A kernel on a GPU takes no time that one would notice."""
    seams.wrap_in(
        "torch.nn:Dropout",
        "forward",
        _where_any,
        answers="self.embedding_dropout(embeddings), core/models/common/embeddings/language_model_embedding.py:150",
    )


def _where_any(forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def drop(self: torch.nn.Dropout, values: torch.Tensor) -> torch.Tensor:
        return forward(self, values) if self.p else values

    return drop
