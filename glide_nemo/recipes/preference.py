"""From a preference run in numbers to a recipe: what DPO and ORPO share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from glide_nemo.recipes import phase_c
from glide_nemo.recipes.preference_loss import PreferenceConfig
from glide_nemo.recipes.pretraining import Run, pretraining
from glide_nemo.recipes.recipe import TrainingRecipe


def preference_recipe(
    phase: str, size: str, runs: Mapping[str, Run], losses: Mapping[str, PreferenceConfig]
) -> TrainingRecipe:
    """The recipe of a phase at a size; batch sizes count rows, two a pair. It continues the weights of `sft`."""
    from glide_nemo.data.preference_dataset import PreferencePairs
    from glide_nemo.model.architecture import architecture
    from glide_nemo.model.provider import model_provider
    from glide_nemo.recipes.container import PreferenceContainer

    recipe = pretraining(phase, size, runs, continues="sft")
    recipe.objective = phase
    config = recipe.config
    # Rows are shorter than the context that phase C stretched the model to, which it keeps, as in `sft`.
    stretched = architecture(size).stretched(phase_c.RUNS[size].seq_length)
    config.model = model_provider(stretched, seq_length=config.model.seq_length)
    config.dataset = PreferencePairs(
        seq_length=config.model.seq_length,
        num_workers=config.dataset.num_workers,
        dataloader_type="single",
    )
    # As TRL and open-instruct train: no pull to zero on weights that hardly move, Adam's own second beta.
    config.optimizer.weight_decay = config.scheduler.start_weight_decay = config.scheduler.end_weight_decay = 0.0
    config.optimizer.adam_beta2 = 0.999
    sections = {section.name: getattr(config, section.name) for section in fields(config) if section.init}
    recipe.config = PreferenceContainer(**sections, preference=losses[size])
    return recipe
