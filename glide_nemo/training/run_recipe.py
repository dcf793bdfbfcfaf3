"""A recipe pointed at the files of a run: its data, its tokenizer, the weights that it starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glide_nemo.recipes.recipe import TrainingRecipe


@dataclass(frozen=True)
class Paths:
    """Where a training run reads and writes."""

    tokens: Path  # directory with train.bin/.idx and heldout.bin/.idx
    tokenizer: Path  # directory with tokenizer.json
    out: Path
    init_from: Path | None = None  # directory of Megatron checkpoints whose weights to start from
    blended_in: tuple[tuple[Path, float], ...] = ()  # further tokens, and the share of the sequences from each


def recipe_of_run(name: str, overrides: Sequence[str], paths: Paths) -> tuple[TrainingRecipe, ModuleType]:
    """The recipe with the run's own data and tokenizer, and its objective."""
    from glide_nemo.recipes.recipe import build_recipe
    from glide_nemo.training.objectives import objective

    recipe = build_recipe(name, overrides)
    trained_towards = objective(recipe.objective)
    trained_towards.prepare(recipe.config, paths)
    recipe.config.tokenizer.tokenizer_model = str(paths.tokenizer)
    return recipe, trained_towards
