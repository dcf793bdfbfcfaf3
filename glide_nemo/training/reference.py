"""The reference of DPO: log-probabilities of every answer token under the model as it was before the first step.

They are computed once, by the training's own model, layout and forward pass before it is trained, and kept in the run
directory: no second model lies in memory, and a resumed run reads what the first one wrote.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import torch
import torch.distributed as dist
from megatron.bridge.training.callbacks import Callback, CallbackContext
from megatron.bridge.training.utils.pg_utils import get_pg_collection
from megatron.core.num_microbatches_calculator import get_num_microbatches
from megatron.core.pipeline_parallel import get_forward_backward_func
from megatron.core.pipeline_parallel.utils import is_pp_last_stage
from torch.utils.data import default_collate

from glide_nemo.data.preference_dataset import PairRows
from glide_nemo.errors import GlideError
from glide_nemo.training.preference_step import batch_of, token_losses

if TYPE_CHECKING:
    from megatron.bridge.training.config import ConfigContainer

FILE = "reference.bin"  # float32, one an answer token, row after row through both splits


class Reference:
    """Log-probabilities of answer tokens by the number of their row."""

    def __init__(self, path: Path, rows: AllRows) -> None:
        self.values = numpy.memmap(path, "<f4", mode="r")
        self.rows = rows

    def of(self, numbers: torch.Tensor, seq_length: int) -> torch.Tensor:
        """Of rows, of shape (B, S): where their labels are, zero outside of the answers."""
        found = torch.zeros(len(numbers), seq_length)
        for at, number in enumerate(numbers.tolist()):
            labels, span = self.rows.answer(number)
            found[at, labels] = torch.from_numpy(self.values[span].astype("float32"))
        return found


class AllRows:
    """The rows of both splits under one numbering."""

    def __init__(self, splits: list[PairRows]) -> None:
        self.splits = splits
        counts = [split.lengths - split.answers for split in splits]
        self.ends = numpy.cumsum(numpy.concatenate(counts), dtype="<i8")

    def __len__(self) -> int:
        return len(self.ends)

    def sample(self, number: int) -> dict[str, numpy.ndarray]:
        split = self._split(number)
        return split.sample(number - split.first)

    def answer(self, number: int) -> tuple[slice, slice]:
        """Where the labels of a row's answer are in the row, and where they are among those of all rows."""
        split = self._split(number)
        length, begins = int(split.lengths[number - split.first]), int(split.answers[number - split.first])
        end = int(self.ends[number])
        return slice(begins - 1, length - 1), slice(end - (length - begins), end)

    def _split(self, number: int) -> PairRows:
        return self.splits[0] if number < len(self.splits[0]) else self.splits[1]


class ComputeReference(Callback):
    """Before the first step, computes what the run directory lacks of the reference, and hands it to the data."""

    def __init__(self, out: Path, report: Callable[[dict[str, Any]], None]) -> None:
        self.path, self.report = out / FILE, report

    def on_train_start(self, context: CallbackContext) -> None:
        config = context.state.cfg
        rows = AllRows([config.dataset.read("train"), config.dataset.read("heldout")])
        if not self.path.exists():
            if context.state.train_state.step:
                raise GlideError(f"{self.path} is missing, training has begun without it: pass --force to begin anew")
            compute(self.path, rows, context.model, config)
        config.dataset.reference = Reference(self.path, rows)


@torch.no_grad()
def compute(path: Path, rows: AllRows, model: list[Any], config: ConfigContainer) -> None:
    """Writes the file, from where an earlier run stopped. All processes take part; one writes."""
    groups = get_pg_collection(model)
    ranks, micro_batch = groups.dp.size(), config.train.micro_batch_size
    batches = get_num_microbatches()
    writes = is_pp_last_stage(groups.pp) and groups.tp.rank() == 0 and groups.dp_cp.rank() == 0
    partial = path.with_name(f".{path.name}.partial")
    done = _resume(partial, rows) if writes else 0
    shared = torch.tensor(done, device="cuda")
    dist.all_reduce(shared, op=dist.ReduceOp.MAX)
    for chunk in model:
        chunk.eval()
    forward_backward = get_forward_backward_func(
        pp_size=groups.pp.size(), vp_size=config.model.virtual_pipeline_model_parallel_size
    )
    with _HooksOff(model, config), open(partial, "ab") if writes else open(os.devnull, "wb") as file:
        for start in range(int(shared), len(rows), batches * ranks * micro_batch):
            first = start + groups.dp.rank() * micro_batch

            def micro_batches(first: int = first) -> Iterator[dict[str, torch.Tensor]]:
                for number in range(batches):
                    at = first + number * ranks * micro_batch
                    numbers = [min(at + row, len(rows) - 1) for row in range(micro_batch)]
                    yield default_collate([rows.sample(number) for number in numbers])

            found = forward_backward(
                forward_step_func=_forward,
                data_iterator=[micro_batches() for _ in model] if len(model) > 1 else micro_batches(),
                model=model,
                num_microbatches=batches,
                seq_length=config.model.seq_length,
                micro_batch_size=micro_batch,
                decoder_seq_length=config.model.seq_length,
                forward_only=True,
            )
            if is_pp_last_stage(groups.pp):
                for number, part in enumerate(found):
                    whole = _gathered(part, groups.dp_cp, config.model.seq_length)
                    if writes:
                        _write(file, whole, start + number * ranks * micro_batch, rows)
            file.flush()
    for chunk in model:
        chunk.train()
    if writes:
        os.replace(partial, path)
    dist.barrier()


def _forward(data_iterator: Iterator[dict[str, torch.Tensor]], model: Any) -> tuple[torch.Tensor, Callable]:
    batch, numbers = batch_of(data_iterator, model)

    def keep(losses_BS: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        found = {"rows": numbers, "positions": batch["position_ids"], "log_probabilities": -losses_BS.float()}
        return torch.zeros((), device=losses_BS.device), found

    return token_losses(model, batch), keep


def _gathered(part: dict[str, torch.Tensor], group: dist.ProcessGroup, seq_length: int) -> dict[int, torch.Tensor]:
    """Whole rows by number, of all ranks of the data- and context-parallel group."""
    shares = {}
    for name, tensor in part.items():
        shares[name] = [torch.empty_like(tensor) for _ in range(group.size())]
        dist.all_gather(shares[name], tensor.contiguous(), group=group)
    whole: dict[int, torch.Tensor] = {}
    for numbers, positions_BS, values_BS in zip(*shares.values(), strict=True):
        for number, positions_S, values_S in zip(numbers.tolist(), positions_BS, values_BS, strict=True):
            row = whole.setdefault(number, torch.zeros(seq_length, device=values_S.device))
            row[positions_S] = values_S
    return whole


def _write(file: Any, whole: dict[int, torch.Tensor], start: int, rows: AllRows) -> None:
    for number in range(start, min(start + len(whole), len(rows))):
        labels, _ = rows.answer(number)
        file.write(whole[number][labels].cpu().numpy().astype("<f4").tobytes())


def _resume(partial: Path, rows: AllRows) -> int:
    """How many rows an earlier run has written whole; cuts the file back to them."""
    size = partial.stat().st_size // 4 if partial.exists() else 0
    done = int(numpy.searchsorted(rows.ends, size, side="right"))
    partial.touch()
    os.truncate(partial, int(rows.ends[done - 1]) * 4 if done else 0)
    return done


class _HooksOff:
    """No gathering of parameters ahead of a forward pass: before the first step there is nothing to gather."""

    def __init__(self, model: list[Any], config: ConfigContainer) -> None:
        self.model = model if config.ddp.use_distributed_optimizer and config.ddp.overlap_param_gather else []

    def __enter__(self) -> None:
        for chunk in self.model:
            chunk.disable_forward_pre_hook(param_sync=False)

    def __exit__(self, *error: Any) -> None:
        for chunk in self.model:
            chunk.enable_forward_pre_hook()
