"""What a recipe trains towards: one file each, with the data it takes and the loss it steps on.

A module has `prepare(config, paths)`, which points `config.dataset` at the run's data, `forward_step` as
Megatron-Bridge calls it, and `callbacks(config, paths, report)`. All of it runs in a process with Megatron in it.
"""

from __future__ import annotations

import importlib
from types import ModuleType

OBJECTIVES = {
    "dpo": "glide_nemo.training.objectives.dpo",
    "next_token": "glide_nemo.training.objectives.next_token",
    "orpo": "glide_nemo.training.objectives.orpo",
    "sft": "glide_nemo.training.objectives.sft",
}


def objective(name: str) -> ModuleType:
    """The module of an objective, imported now."""
    return importlib.import_module(OBJECTIVES[name])
