"""Goes on with the optimizer of the phase before, not with its weights alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from megatron.bridge.training.callbacks import Callback, CallbackContext
from megatron.bridge.training.checkpointing import generate_state_dict
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.strategies.torch import TorchDistLoadShardedStrategy
from megatron.core.utils import unwrap_model

from glide_nemo.errors import GlideError


class ContinuedOptimizer(Callback):
    """Loads moments and step count of a checkpoint's optimizer; learning rates and weight decay are this phase's.

    Megatron-Bridge loads either the weights of a `pretrained_checkpoint` and counts from zero, or all of a checkpoint
    and counts on, its schedule included. Raises GlideError for a checkpoint without an optimizer, as an average is.
    """

    def __init__(self, start: Path) -> None:
        saved = yaml.safe_load((start / "run_config.yaml").read_text(encoding="utf-8"))["checkpoint"]["save_optim"]
        if not saved:
            raise GlideError(f"{start} has weights and no optimizer to continue: start from the checkpoint beside it")
        self.start = start

    @torch.no_grad()  # in fp32 the optimizer's parameters are views of the model's, and loading writes to them
    def on_data_init_start(self, context: CallbackContext) -> None:
        if context.state.train_state.step > 0:
            return  # resumed: its own checkpoint had it all
        metadata = dist_checkpointing.load_content_metadata(str(self.start))
        wanted = generate_state_dict(
            context.state.cfg.checkpoint,
            unwrap_model(context.model),
            context.optimizer,
            None,
            None,
            optim_sd_kwargs={"metadata": metadata, "is_loading": True},
            model_sd_kwargs={"metadata": metadata},
        )
        own = [_settings(group) for group in context.optimizer.param_groups]
        loaded = dist_checkpointing.load(wanted, str(self.start), TorchDistLoadShardedStrategy())["optimizer"]
        for group, settings in zip(loaded["optimizer"]["param_groups"], own, strict=True):
            group |= settings
        context.optimizer.load_state_dict(loaded)
        context.scheduler.step(0)


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    """What a group of parameters is trained with, but for how often it has been."""
    return {key: value for key, value in group.items() if key not in ("params", "step")}
