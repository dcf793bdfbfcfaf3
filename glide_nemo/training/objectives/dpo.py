"""Direct preference optimization: rewards are what the policy gained on the reference that it began as."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from glide_nemo.training.preference_losses import divergence, dpo_loss
from glide_nemo.training.preference_step import Batch, batch_of, count_flops, prepare_pairs, stepped, summed
from glide_nemo.training.preference_step import token_losses as run
from glide_nemo.training.reference import ComputeReference

if TYPE_CHECKING:
    from megatron.bridge.training.callbacks import Callback
    from megatron.bridge.training.config import ConfigContainer
    from megatron.bridge.training.state import GlobalState

    from glide_nemo.training.run_recipe import Paths

__all__ = ["callbacks", "forward_step", "prepare"]

prepare = prepare_pairs


def callbacks(config: ConfigContainer, paths: Paths, report: Callable[[dict[str, Any]], None]) -> list[Callback]:
    return [ComputeReference(paths.out, report)]


def forward_step(
    state: GlobalState, data_iterator: Iterator[Batch], model: Any, return_schedule_plan: bool = False
) -> tuple[torch.Tensor, Callable]:
    batch, _ = batch_of(data_iterator, model, state.cfg.dataset.reference)
    count_flops(state, model, batch)
    return run(model, batch), partial(loss_function, state.cfg.preference, batch, model)


def loss_function(settings: Any, batch: Batch, model: Any, losses_BS: torch.Tensor) -> tuple[Any, ...]:
    """The loss of a micro batch, and the margin, accuracy and divergence to be logged."""
    mask_BS = batch["loss_mask"]
    gain_BS = (-losses_BS.float() - batch["reference"]) * mask_BS  # log(policy / reference)
    tokens_B = summed(mask_BS, model)
    policy_B = summed(-losses_BS.float() * mask_BS, model)
    reference_B = summed(batch["reference"] * mask_BS, model)
    drift_B = summed(divergence(gain_BS.detach()), model) / tokens_B.clamp(min=1)
    more_likely_P = (policy_B[::2] > policy_B[1::2]).float()
    if settings.length_normalized:
        policy_B, reference_B = policy_B / tokens_B.clamp(min=1), reference_B / tokens_B.clamp(min=1)
    loss = dpo_loss(
        policy_B[::2],
        policy_B[1::2],
        reference_B[::2],
        reference_B[1::2],
        beta=settings.beta,
        label_smoothing=settings.label_smoothing,
    )
    logged = {"kl": (drift_B[::2] + drift_B[1::2]) / 2, "chosen_more_likely": more_likely_P}
    return stepped(loss, (tokens_B[::2] > 0).float(), logged)
