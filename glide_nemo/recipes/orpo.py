"""ORPO: fine-tuning and preferences in one phase, without a reference."""

from __future__ import annotations

from glide_nemo.recipes.preference import preference_recipe
from glide_nemo.recipes.preference_loss import PreferenceConfig
from glide_nemo.recipes.pretraining import Run
from glide_nemo.recipes.recipe import TrainingRecipe

RUNS = {
    "nano": Run(
        seq_length=128, global_batch_size=32, micro_batch_size=32, train_iters=60, lr=5e-4, min_lr=5e-5,
        warmup_iters=6, decay="linear", precision="fp32", save_interval=20, eval_interval=30, eval_iters=16,
    ),
    "125m": Run(
        seq_length=1_024, global_batch_size=128, micro_batch_size=16, train_iters=1_000, lr=2e-5, min_lr=0.0,
        warmup_iters=100, decay="linear", gpus=1,
    ),
    "3b": Run(  # 128 pairs a step, one epoch of the 270,000 of Tulu 3
        seq_length=2_048, global_batch_size=256, micro_batch_size=2, train_iters=2_110, lr=5e-6, min_lr=0.0,
        warmup_iters=100, decay="linear", gpus=64,
    ),
}  # fmt: skip

LOSSES = {"nano": PreferenceConfig(beta=0.1), "125m": PreferenceConfig(beta=0.1), "3b": PreferenceConfig(beta=0.1)}


def orpo(size: str) -> TrainingRecipe:
    """odds ratio preference optimization on pairs of answers, with no reference, continuing sft's weights

    At 3b: a peak of 5e-6 after 100 steps of warm-up, as Zephyr-ORPO-141B (alignment-handbook,
    recipes/zephyr-141b-A35b/orpo/config_full.yaml, with a beta of 0.05 on 7,000 pairs); TRL's beta of 0.1 on many more.
    The pairs a step, their length and the one epoch are those of `dpo`, so that the two compare.
    """
    return preference_recipe("orpo", size, RUNS, LOSSES)
