"""What a training run leaves behind of each step: loss.jsonl, the same for equal runs, and the rates, which are not."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from megatron.bridge.training.callbacks import Callback, CallbackContext
from megatron.core.num_microbatches_calculator import get_current_running_global_batch_size

from glide_nemo.artifact import write_atomically
from glide_nemo.errors import GlideError
from glide_nemo.training.divergence import note
from glide_nemo.training.processes import is_last


class Curves(Callback):
    """Writes a line a step, and reports it. A resumed run drops the lines after the step that it resumes from."""

    def __init__(self, loss_file: Path, rate_file: Path, report: Callable[[dict[str, Any]], None]) -> None:
        self.loss_file, self.rate_file, self.report = loss_file, rate_file, report
        self.heldout_file = loss_file.with_name("heldout.jsonl")  # a line an evaluation
        self.step = 0  # the last one finished
        self.reads = (0, 0, 0)  # the one under way, its first sample of the training data, and how many it reads
        self.step_started = 0.0
        self.learning_rate = 0.0
        self.heldout_loss: float | None = None

    def on_train_start(self, context: CallbackContext) -> None:
        self.step = step = context.state.train_state.step
        if not is_last():
            return
        for path in (self.loss_file, self.rate_file, self.heldout_file):
            _keep_until(path, step)
        self.report({"started_at": step})

    def on_train_step_start(self, context: CallbackContext) -> None:
        progress = context.state.train_state
        self.reads = (progress.step + 1, progress.consumed_train_samples, get_current_running_global_batch_size())
        self.step_started = time.perf_counter()
        self.learning_rate = context.optimizer.param_groups[0]["lr"]

    def on_train_step_end(self, context: CallbackContext) -> None:
        seconds = time.perf_counter() - self.step_started
        if not is_last():  # of several processes one writes, and it is one that knows the loss
            return
        config = context.state.cfg
        step = context.state.train_state.step + 1  # Bridge counts it after this callback
        tokens = config.train.global_batch_size * config.model.seq_length
        loss = float(context.loss_dict["lm loss"]) if context.loss_dict else math.nan
        if not math.isfinite(loss):
            raise self.diverged()
        line = {
            "step": step,
            "tokens": step * tokens,
            "loss": loss,
            "learning_rate": self.learning_rate,
            "grad_norm": context.grad_norm,
            **_besides_loss(context.loss_dict),
        }
        _append(self.loss_file, line)
        _append(self.rate_file, {"step": step, "seconds": seconds, "tokens_per_second": tokens / seconds})
        self.step = step
        self.report(line | {"tokens_per_second": tokens / seconds})

    def diverged(self) -> GlideError:
        """The error to raise where the loss or a gradient of the step under way is not finite."""
        return note(self.loss_file.parent, *self.reads)

    def on_eval_end(self, context: CallbackContext) -> None:
        if context.total_loss_dict:
            self.heldout_loss = float(context.total_loss_dict["lm loss"])
            line = {"step": context.state.train_state.step, "loss": self.heldout_loss}
            line |= _besides_loss(context.total_loss_dict)
            if is_last():
                _keep_until(self.heldout_file, line["step"] - 1)  # of a run killed after it evaluated
                _append(self.heldout_file, line)
            self.report({"heldout_loss": self.heldout_loss, "step": line["step"]})


def _besides_loss(measured: Mapping[str, Any]) -> dict[str, float]:
    """What an objective reports beside the loss that it steps on, such as the accuracy of rewards."""
    return {name: float(value) for name, value in measured.items() if name != "lm loss"}


def _append(path: Path, line: dict[str, Any]) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _keep_until(path: Path, step: int) -> None:
    """Cuts off the lines after a step, and a last line that a kill left unfinished."""
    kept = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except json.JSONDecodeError:
            break
    write_atomically(path, "".join(kept))
