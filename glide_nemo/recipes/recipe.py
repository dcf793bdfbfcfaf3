"""What a training recipe is, and finding one by name: `glide3b_phaseB` is the recipe phaseB at the size 3b.

Listing recipes imports neither torch nor Megatron; building one does.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glide_nemo import plugins
from glide_nemo.errors import GlideError
from glide_nemo.recipes.layout import check_layout, settle_layout
from glide_nemo.recipes.overrides import override

if TYPE_CHECKING:
    from collections.abc import Sequence

    from megatron.bridge.training.config import ConfigContainer


@dataclass
class TrainingRecipe:
    """A named run: its whole config, the machine it is laid out for, and the phase whose weights it starts from."""

    name: str
    config: ConfigContainer
    gpus: int = 0  # 0 is a recipe for the CPU
    gpu_gb: float = 80.0  # memory of the GPU that the layout is chosen for, in GB; an H100 by default
    objective: str = "next_token"  # what it trains towards, a name in training/objectives
    continues: str | None = None  # recipe whose checkpoint it starts from; None starts from random weights
    continues_optimizer: bool = False  # whether it goes on with that phase's optimizer state too, or starts afresh


def prefix(size: str) -> str:
    """`glide3b`, `glide125m`, `glide_nano`: an underscore only where the size does not start with a digit."""
    return f"glide{size}" if size[0].isdigit() else f"glide_{size}"


def recipe_names() -> dict[str, tuple[str, str]]:
    """Every recipe by its full name, as (phase, size)."""
    return {
        f"{prefix(size)}_{phase}": (phase, size)
        for size in plugins.available("architectures")
        for phase in plugins.available("recipes")
    }


def split_name(name: str) -> tuple[str, str]:
    """(phase, size) of a full name. GlideError for an unknown one, naming the nearest."""
    names = recipe_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.3)
        advice = f"did you mean '{near[0]}'? " if near else ""
        raise GlideError(f"unknown recipe '{name}': {advice}--list shows all")
    return names[name]


def describe_recipes() -> list[tuple[str, str]]:
    """Each recipe's name and one line about it, for --list."""
    described = []
    for name, (phase, size) in recipe_names().items():
        architecture = plugins.get("architectures", size)()
        summary = (plugins.get("recipes", phase).__doc__ or "").strip().splitlines()[0]
        described.append((name, f"{architecture.parameters / 1e6:,.0f} M parameters: {summary}"))
    return described


def build_recipe(name: str, overrides: Sequence[str] = ()) -> TrainingRecipe:
    """The recipe with `section.key=value` overrides applied through OmegaConf. Imports Megatron.

    Raises GlideError for an unknown recipe or key (naming the nearest), for a value that does not fit, and for a layout
    that does not divide.
    """
    phase, size = split_name(name)
    recipe = plugins.get("recipes", phase)(size)
    if overrides:
        override(recipe.config, overrides)
    check_layout(recipe)
    settle_layout(recipe)
    return recipe
