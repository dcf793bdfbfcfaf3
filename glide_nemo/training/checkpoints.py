"""Checkpoints to go on from: whole ones only, and the same bytes for the same training, resumed or not."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from megatron.bridge.training.callbacks import Callback, CallbackContext
from megatron.bridge.training.utils.checkpoint_utils import get_checkpoint_name
from megatron.core.dist_checkpointing.core import CheckpointingException
from megatron.core.dist_checkpointing.validation import save_integrity_manifest, verify_integrity_manifest

from glide_nemo.artifact import write_atomically
from glide_nemo.errors import GlideError
from glide_nemo.training.processes import first_alone

MANIFEST = "integrity.json"  # Megatron-Core's sha256 of each file; written last, so a directory that has one is whole


class Reproducible(Callback):
    """Takes out of checkpoints what two equal runs do not share, and completes them with a manifest.

    `names` gives the directories that the run reads and writes the names that a checkpoint calls them by.
    """

    def __init__(self, names: Mapping[Path, str]) -> None:
        self.names = names
        self.random_state = torch.get_rng_state()

    # A data loader's iterator draws its workers' seed from torch's generator when it is made. A resumed run makes its
    # iterators after it has loaded the random state (bridge/training/setup.py:466), and would be some draws ahead.

    def on_data_init_start(self, context: CallbackContext) -> None:
        context.state.cfg.checkpoint.finetune = False  # set by Bridge where it began from `pretrained_checkpoint`
        self.random_state = torch.get_rng_state()

    def on_train_start(self, context: CallbackContext) -> None:
        torch.set_rng_state(self.random_state)

    def on_eval_start(self, context: CallbackContext) -> None:
        self.random_state = torch.get_rng_state()

    def on_eval_end(self, context: CallbackContext) -> None:
        torch.set_rng_state(self.random_state)

    def on_checkpoint_save(self, context: CallbackContext) -> None:
        if torch.distributed.get_rank() == 0:
            state = context.state
            complete(Path(get_checkpoint_name(state.cfg.checkpoint.save, state.train_state.step)), self.names)


def complete(iteration: Path, names: Mapping[Path, str]) -> None:
    """Makes a saved checkpoint the same for equal runs, and then declares it whole."""
    _forget_storage(iteration / ".metadata")
    _rename_paths(iteration / "run_config.yaml", names)
    save_integrity_manifest(str(iteration))


def settle(checkpoints: Path, until: int | None = None) -> int:
    """Removes what a kill left unfinished and points Megatron-Bridge at the newest whole checkpoint.

    `until` is the step that training goes on from, where another directory says so: what is newer goes too.
    Returns its step, 0 where there is none. Raises GlideError where it was damaged after it was written.
    """
    step = first_alone(partial(_settle, checkpoints, until))
    if step:
        verify(checkpoints / f"iter_{step:07d}")  # by all processes together, as Megatron-Core wants it
    return step


def _settle(checkpoints: Path, until: int | None) -> int:
    whole = []
    for iteration in sorted(checkpoints.glob("iter_*")):
        if _is_whole(iteration) and (until is None or int(iteration.name.removeprefix("iter_")) <= until):
            whole.append(iteration)
        else:
            shutil.rmtree(iteration)
    if not whole:
        shutil.rmtree(checkpoints, ignore_errors=True)
        return 0
    newest = whole[-1]
    step = int(newest.name.removeprefix("iter_"))
    # Bridge reads the one, export and others the other. A kill may have hit between the two, or within one.
    shutil.copy(newest / "train_state.pt", checkpoints / "latest_train_state.pt")
    write_atomically(checkpoints / "latest_checkpointed_iteration.txt", str(step))
    return step


def verify(iteration: Path) -> None:
    """GlideError where a file of a checkpoint is not as it was written."""
    try:
        verify_integrity_manifest(str(iteration))
    except CheckpointingException as error:
        what = str(error).splitlines()[-1].strip().partition(" (")[0]
        raise GlideError(
            f"damaged checkpoint {iteration}, {what}: delete it, and the same command goes on from the one before"
        ) from error


def _is_whole(iteration: Path) -> bool:
    try:
        return bool(json.loads((iteration / MANIFEST).read_text())["files"])
    except (OSError, ValueError, KeyError):
        return False


def _forget_storage(metadata: Path) -> None:
    """Drops the path and the random name of the save, which reading a checkpoint does not need."""
    plan = pickle.loads(metadata.read_bytes())
    plan.storage_meta = None
    metadata.write_bytes(pickle.dumps(plan))


def _rename_paths(run_config: Path, names: Mapping[Path, str]) -> None:
    """Says `tokens/train` where a config holds the path of this run's tokens; artifact.json says where they lie."""

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: renamed(item) for key, item in value.items()}
        if isinstance(value, list):
            return [renamed(item) for item in value]
        for path, name in names.items() if isinstance(value, str) else ():
            if Path(value).is_relative_to(path):
                return (Path(name) / Path(value).relative_to(path)).as_posix()
        return value

    config = yaml.safe_load(run_config.read_text(encoding="utf-8"))
    run_config.write_text(yaml.safe_dump(renamed(config)), encoding="utf-8")
