"""An averaged copy of the weights, beside the training: kept in fp32 on the optimizer's shards, saved as a checkpoint.

Each data-parallel rank averages the part of the weights that its distributed optimizer updates, so that the average
costs 4 bytes a parameter divided over the ranks, and nothing is communicated until it is saved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from megatron.bridge.training.callbacks import Callback, CallbackContext
from megatron.bridge.training.checkpointing import save_checkpoint
from megatron.bridge.training.utils.checkpoint_utils import get_checkpoint_name
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.mapping import ShardedTensor, ShardedTensorFactory
from megatron.core.dist_checkpointing.strategies.torch import TorchDistLoadShardedStrategy
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer
from megatron.core.utils import unwrap_model

from glide_nemo.errors import GlideError
from glide_nemo.training.checkpoints import complete

if TYPE_CHECKING:
    from megatron.core.optimizer import MegatronOptimizer

    from glide_nemo.recipes.container import EmaConfig


@dataclass(frozen=True)
class Shard:
    """The part of a parameter that this rank's optimizer updates: values `start` to `end` of the flat parameter."""

    parameter: torch.nn.Parameter
    start: int
    end: int  # equal to start where all of it is other ranks'
    main: torch.Tensor  # fp32, what the optimizer steps on
    group: torch.distributed.ProcessGroup  # the ranks that hold the other parts


class WeightAverage(Callback):
    """Averages the weights every `config.interval` steps and saves the average with each checkpoint, in `directory`.

    The average begins with the weights that training starts from. Its checkpoints are Megatron-Bridge's, without an
    optimizer: whatever loads `checkpoints/` loads them too. A resumed run goes on with the average it saved.
    """

    def __init__(self, config: EmaConfig, directory: Path, names: Mapping[Path, str]) -> None:
        if not 0.0 <= config.decay < 1.0:
            raise GlideError(f"cannot average with ema.decay={config.decay}: choose a number from 0 to below 1")
        self.config, self.directory, self.names = config, directory, names
        self.shards: list[Shard] = []
        self.average: list[torch.Tensor] = []  # of each shard, fp32

    def on_train_start(self, context: CallbackContext) -> None:
        self.shards = list(_shards(context.optimizer))
        self.average = [shard.main.detach().clone() for shard in self.shards]
        step = context.state.train_state.step
        if step:
            self._load(context, Path(get_checkpoint_name(str(self.directory), step)))

    @torch.no_grad()
    def on_train_step_end(self, context: CallbackContext) -> None:
        step = context.state.train_state.step + 1  # Bridge counts it after this callback
        if step % self.config.interval == 0:
            torch._foreach_lerp_(self.average, [shard.main for shard in self.shards], 1.0 - self.config.decay)

    def on_checkpoint_save(self, context: CallbackContext) -> None:
        """Saves before the training's own checkpoint is declared whole, so that a whole one always has its average."""
        state = context.state
        checkpoint = state.cfg.checkpoint
        kept = checkpoint.save, checkpoint.save_optim, checkpoint.save_rng
        checkpoint.save, checkpoint.save_optim, checkpoint.save_rng = str(self.directory), False, False
        try:
            averaged = _sharded(context.model, self._whole())
            # The iteration makes it what Bridge writes itself; the floating-point operations are the training's.
            content = {"checkpoint_version": 3.0, "iteration": state.train_state.step} | averaged
            save_checkpoint(state, context.model, None, None, 0, prebuilt_state_dict=content)
        finally:
            checkpoint.save, checkpoint.save_optim, checkpoint.save_rng = kept
        if torch.distributed.get_rank() == 0:
            complete(Path(get_checkpoint_name(str(self.directory), state.train_state.step)), self.names)

    def _whole(self) -> dict[torch.nn.Parameter, torch.Tensor]:
        """The average of each parameter of this model-parallel rank in its own shape, put together from all shards."""
        whole = {}
        for shard, average in zip(self.shards, self.average, strict=True):
            tensor = torch.zeros(shard.parameter.shape, dtype=torch.float32, device=average.device)
            tensor.view(-1)[shard.start : shard.end] = average
            torch.distributed.all_reduce(tensor, group=shard.group)
            whole[shard.parameter] = tensor.cpu()  # one parameter at a time on the device
        return whole

    def _load(self, context: CallbackContext, iteration: Path) -> None:
        if not iteration.exists():
            raise GlideError(f"no average of the weights in {iteration}: train again with --force, or ema.interval=0")
        places = {shard.parameter: torch.empty(shard.parameter.shape, dtype=torch.float32) for shard in self.shards}
        content = _sharded(context.model, places)
        keys = {id(entry.data): (chunk, name) for chunk in content for name, entry in _weights(content[chunk])}
        loaded = dist_checkpointing.load(content, str(iteration), TorchDistLoadShardedStrategy())
        for shard, average in zip(self.shards, self.average, strict=True):
            chunk, name = keys[id(places[shard.parameter])]
            average.copy_(loaded[chunk][name].reshape(-1)[shard.start : shard.end])


def _shards(optimizer: MegatronOptimizer) -> Iterator[Shard]:
    """Every parameter of this model-parallel rank, in the order that all its data-parallel ranks have them in."""
    for each in getattr(optimizer, "chained_optimizers", [optimizer]):
        if not isinstance(each, DistributedOptimizer):
            raise GlideError("an average of the weights needs the distributed optimizer: pass ema.interval=0")
        for buffer in each.buffers:
            for parameter in buffer.param_index_map:
                start = end = 0
                main = torch.empty(0, dtype=torch.float32, device=parameter.device)
                if parameter in each.model_param_group_index_map:
                    group, order = each.model_param_group_index_map[parameter]
                    main = each.optimizer.param_groups[group]["params"][order]
                    part = each._get_model_param_range_map(parameter)["param"]
                    start, end = part.start, part.end
                yield Shard(parameter, start, end, main, buffer.data_parallel_group)


def _sharded(model: list[Any], weights: Mapping[torch.nn.Parameter, torch.Tensor]) -> dict[str, dict[str, Any]]:
    """The model's part of a sharded checkpoint with `weights` in place of its own."""
    chunks = unwrap_model(model)
    of_parameter = {id(parameter): tensor for parameter, tensor in weights.items()}
    content = {}
    for number, chunk in enumerate(chunks):
        entries = content["model" if len(chunks) == 1 else f"model{number}"] = chunk.sharded_state_dict()
        for _, entry in _weights(entries):
            entry.data = of_parameter[id(entry.data)]
            if isinstance(entry, ShardedTensor):
                entry.dtype = entry.data.dtype
    return content


def _weights(entries: Mapping[str, Any]) -> Iterator[tuple[str, ShardedTensor | ShardedTensorFactory]]:
    """Those entries of a sharded state that are parameters; the rest is Transformer Engine's extra state."""
    for name, entry in entries.items():
        if isinstance(entry, (ShardedTensor, ShardedTensorFactory)):
            yield name, entry
