"""Odds ratio preference optimization: fine-tuning on chosen answers and a penalty on rejected ones, in one step.

There is no reference model, and so no divergence from one to be logged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from glide_nemo.training.preference_losses import orpo_loss
from glide_nemo.training.preference_step import Batch, batch_of, count_flops, prepare_pairs, stepped, summed
from glide_nemo.training.preference_step import token_losses as run

if TYPE_CHECKING:
    from megatron.bridge.training.callbacks import Callback
    from megatron.bridge.training.config import ConfigContainer
    from megatron.bridge.training.state import GlobalState

    from glide_nemo.training.run_recipe import Paths

__all__ = ["callbacks", "forward_step", "prepare"]

prepare = prepare_pairs


def callbacks(config: ConfigContainer, paths: Paths, report: Callable[[dict[str, Any]], None]) -> list[Callback]:
    return []


def forward_step(
    state: GlobalState, data_iterator: Iterator[Batch], model: Any, return_schedule_plan: bool = False
) -> tuple[torch.Tensor, Callable]:
    batch, _ = batch_of(data_iterator, model)
    count_flops(state, model, batch)
    return run(model, batch), partial(loss_function, state.cfg.preference, batch, model)


def loss_function(settings: Any, batch: Batch, model: Any, losses_BS: torch.Tensor) -> tuple[Any, ...]:
    """The loss of a micro batch, and the margin, accuracy and likelihoods to be logged."""
    losses_BS = losses_BS.float()
    tokens_B, text_tokens_B = summed(batch["loss_mask"], model), summed(batch["text_mask"], model)
    sums_B = summed(-losses_BS * batch["loss_mask"], model)
    mean_B = sums_B / tokens_B.clamp(min=1)
    nll_B = summed(losses_BS * batch["text_mask"], model) / text_tokens_B.clamp(min=1)
    weight_P = (tokens_B[::2] > 0).float()
    # A pair that only fills a batch has a mean of 0, certainty, whose odds are infinite.
    mean_B = torch.where(tokens_B > 0, mean_B, torch.full_like(mean_B, -1.0))
    loss = orpo_loss(mean_B[::2], mean_B[1::2], nll_B[::2], beta=settings.beta)
    more_likely_P = (sums_B[::2] > sums_B[1::2]).float()
    return stepped(loss, weight_P, {"chosen_nll": nll_B[::2].detach(), "chosen_more_likely": more_likely_P})
