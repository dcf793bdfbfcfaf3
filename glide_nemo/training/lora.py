"""Adapters in place of the weights: trained by Megatron-Bridge's own LoRA, merged into the weights at the end.

A run keeps its adapters and their optimizer in `adapter/` and goes on from there. With the last of them it writes
`checkpoints/`, the model that it has become, which whatever reads a checkpoint reads as any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from megatron.bridge.peft.lora import LoRA
from megatron.bridge.peft.lora_layers import LoRALinear
from megatron.bridge.training.callbacks import Callback, CallbackContext
from megatron.bridge.training.checkpointing import save_checkpoint
from megatron.bridge.training.utils.checkpoint_utils import get_checkpoint_name
from megatron.core.utils import unwrap_model

from glide_nemo.errors import GlideError
from glide_nemo.training.checkpoints import complete

if TYPE_CHECKING:
    from glide_nemo.recipes.lora import LoraConfig
    from glide_nemo.recipes.recipe import TrainingRecipe
    from glide_nemo.training.run_recipe import Paths


def adapt(recipe: TrainingRecipe, paths: Paths) -> None:
    """Hands the adapters of the section `lora` to Megatron-Bridge.

    Raises GlideError where there are no weights to adapt, or the recipe wants something of weights that do not change.
    """
    config = recipe.config
    if paths.init_from is None:
        raise GlideError(f"{recipe.name} adapts weights that are trained: pass --from with a checkpoint, or lora.dim=0")
    if recipe.continues_optimizer:
        raise GlideError(
            f"{recipe.name} goes on with the optimizer of all weights, which adapters do not have: pass lora.dim=0"
        )
    if config.ema.interval:  # B A of two averages is not the average of B A
        raise GlideError(f"{recipe.name} cannot average the weights that it adapts: pass ema.interval=0 or lora.dim=0")
    config.peft = adapters(config.lora)


def adapters(lora: LoraConfig) -> LoRA:
    """Megatron-Bridge's adapters of such settings."""
    return LoRA(target_modules=list(lora.target_modules), dim=lora.dim, alpha=lora.alpha, dropout=lora.dropout)


class MergedWeights(Callback):
    """Saves the weights with the adapters merged into them, in `directory`, with the last checkpoint of a training.

    W + alpha / dim * B A, as Megatron-Bridge's layer merges it. Saved before the adapters' own checkpoint is declared
    whole, so that the last whole one always has its merged weights.
    """

    def __init__(self, directory: Path, names: Mapping[Path, str]) -> None:
        self.directory, self.names = directory, names

    @torch.no_grad()
    def on_checkpoint_save(self, context: CallbackContext) -> None:
        state = context.state
        if state.train_state.step < state.cfg.train.train_iters:
            return
        checkpoint, peft = state.cfg.checkpoint, state.cfg.peft
        kept = checkpoint.save, checkpoint.save_optim, checkpoint.save_rng, checkpoint.pretrained_checkpoint
        checkpoint.save, checkpoint.save_optim, checkpoint.save_rng = str(self.directory), False, False
        checkpoint.pretrained_checkpoint = state.cfg.peft = None  # what is saved is whole
        try:
            content = {"checkpoint_version": 3.0, "iteration": state.train_state.step} | _merged(context.model, peft)
            save_checkpoint(state, context.model, None, None, 0, prebuilt_state_dict=content)
        finally:
            checkpoint.save, checkpoint.save_optim, checkpoint.save_rng, checkpoint.pretrained_checkpoint = kept
            state.cfg.peft = peft
        if torch.distributed.get_rank() == 0:
            complete(Path(get_checkpoint_name(str(self.directory), state.train_state.step)), self.names)


def _merged(model: list[Any], peft: LoRA) -> dict[str, dict[str, Any]]:
    """The model's part of a sharded checkpoint without adapters, their product added to the weights they adapt."""
    chunks = unwrap_model(model)
    content = {}
    for number, chunk in enumerate(chunks):
        adapted = [module for module in chunk.modules() if isinstance(module, LoRALinear)]
        merged = {id(module.to_wrap.weight): module.weight.cpu() for module in adapted}
        state = chunk.sharded_state_dict()
        entries = {name: entry for name, entry in state.items() if not peft.adapter_key_filter(name)}
        found = [entry for entry in entries.values() if id(getattr(entry, "data", None)) in merged]
        assert len(found) == len(merged), "a merged weight has no place in the checkpoint"
        for entry in found:
            entry.data = merged[id(entry.data)]
        content["model" if len(chunks) == 1 else f"model{number}"] = entries
    return content
