"""A curriculum of lengths: each stage is a run of its own length, which goes on from the checkpoint of the one before.

Megatron-Bridge trains at one length. A stage ends with a checkpoint, and the next one resumes it with longer and fewer
sequences in a batch, with the same optimizer, on the same schedule.
"""

from __future__ import annotations

import bisect
import itertools
from typing import TYPE_CHECKING

from megatron.bridge.training.callbacks import Callback, CallbackContext

from glide_nemo.errors import GlideError

if TYPE_CHECKING:
    from megatron.bridge.training.config import ConfigContainer


def enter_stage(config: ConfigContainer, step: int) -> None:
    """Makes `config` that of the stage which follows `step`: its length, its batch, and the step that it ends at.

    Tokens of a step and of a micro-batch stay what they are at the last and longest stage.
    Raises GlideError where a length does not divide them.
    """
    lengths, steps = zip(*config.curriculum.stages, strict=True)
    ends = list(itertools.accumulate(steps))
    stage = min(bisect.bisect_right(ends, step), len(ends) - 1)  # the last one where all is trained
    length = lengths[stage]
    longest = config.model.seq_length
    for size in ("global_batch_size", "micro_batch_size"):
        tokens = getattr(config.train, size) * longest
        if tokens % length:
            raise GlideError(
                f"train.{size}={getattr(config.train, size)} sequences of {longest} tokens are no whole number of "
                f"sequences of {length}: choose stages that divide {tokens}"
            )
        setattr(config.train, size, tokens // length)
    config.train.train_iters = ends[stage]
    config.model.seq_length = config.dataset.seq_length = length
    config.scheduler.override_opt_param_scheduler = True  # it counts sequences, which now are other ones
    config.scheduler.use_checkpoint_opt_param_scheduler = False


class CountInSequences(Callback):
    """Restates a checkpoint's counts, which are of sequences, in those of the stage: as if it had always trained so."""

    def on_data_init_start(self, context: CallbackContext) -> None:
        progress, config = context.state.train_state, context.state.cfg
        batch, validation = config.train.global_batch_size, config.validation
        evaluations = progress.step // validation.eval_interval if validation.eval_interval else 0
        progress.consumed_train_samples = progress.step * batch
        progress.consumed_valid_samples = evaluations * (validation.eval_iters or 0) * batch
        context.scheduler.num_steps = progress.step * batch
        context.scheduler.step(0)
