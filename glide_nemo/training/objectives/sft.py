"""Supervised fine-tuning: what the assistant wrote in packed conversations, by Megatron-Bridge's own forward step.

Bridge's step takes examples joined end to end (`thd`): Transformer Engine's attention keeps them apart in its kernel,
the SDPA layers one by one. Its loss is summed over the tokens that are learnt and divided by their number in the
whole batch (`calculate_per_token_loss`), so that a short answer's token weighs as much as a long one's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from megatron.bridge.training.gpt_step import forward_step

from glide_nemo.artifact import load
from glide_nemo.errors import GlideError

if TYPE_CHECKING:
    from megatron.bridge.training.callbacks import Callback
    from megatron.bridge.training.config import ConfigContainer

    from glide_nemo.training.run_recipe import Paths

__all__ = ["callbacks", "forward_step", "prepare"]


def prepare(config: ConfigContainer, paths: Paths) -> None:
    """Trains on the rows of the split `train` and evaluates on all of `heldout`, or as many as `eval_iters` allows.

    Raises GlideError for tokens that are no packed conversations or of another length, and for a layout that cannot
    take examples joined end to end.
    """
    model, dataset = config.model, config.dataset
    if model.context_parallel_size > 1:
        raise GlideError("conversations are not cut across devices: pass model.context_parallel_size=1")
    if model.pipeline_model_parallel_size > 1:
        if config.train.micro_batch_size > 1:
            raise GlideError("a pipeline takes one row of conversations at a time: pass train.micro_batch_size=1")
        dataset.skip_getting_attention_mask_from_dataset = False
    dataset.directory = str(paths.tokens)
    dataset.dtype = load(paths.tokens, "tokens").metrics["dtype"]
    dataset.read("train")
    batches = -(-len(dataset.read("heldout")) // config.train.global_batch_size)
    config.validation.eval_iters = min(config.validation.eval_iters, batches)


def callbacks(config: ConfigContainer, paths: Paths, report: Callable[[dict[str, Any]], None]) -> list[Callback]:
    return []
