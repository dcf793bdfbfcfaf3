"""DPO: answers that are preferred become likelier than others, as far as a reference allows."""

from __future__ import annotations

from glide_nemo.recipes.preference import preference_recipe
from glide_nemo.recipes.preference_loss import PreferenceConfig
from glide_nemo.recipes.pretraining import Run
from glide_nemo.recipes.recipe import TrainingRecipe

RUNS = {
    "nano": Run(
        seq_length=128, global_batch_size=32, micro_batch_size=32, train_iters=60, lr=1e-4, min_lr=1e-5,
        warmup_iters=6, decay="linear", precision="fp32", save_interval=20, eval_interval=30, eval_iters=16,
    ),
    "125m": Run(  # 64 pairs a step, one epoch of 64,000
        seq_length=1_024, global_batch_size=128, micro_batch_size=16, train_iters=1_000, lr=5e-6, min_lr=0.0,
        warmup_iters=100, decay="linear", gpus=1,
    ),
    "3b": Run(  # 128 pairs a step, one epoch of the 270,000 of Tulu 3
        seq_length=2_048, global_batch_size=256, micro_batch_size=2, train_iters=2_110, lr=1e-6, min_lr=0.0,
        warmup_iters=211, decay="linear", gpus=64,
    ),
}  # fmt: skip

LOSSES = {
    "nano": PreferenceConfig(beta=0.1),
    "125m": PreferenceConfig(beta=5.0, length_normalized=True),
    "3b": PreferenceConfig(beta=5.0, length_normalized=True),
}


def dpo(size: str) -> TrainingRecipe:
    """direct preference optimization on pairs of answers, continuing sft's weights

    At 3b, Tulu 3's form (arXiv 2411.15124, section 5): rewards a token with a beta of 5, 128 pairs of 2,048 tokens a
    step, a linear decay to zero after a warm-up over 10 %, one epoch, no weight decay. It took 5e-7 at 8b and 2.5e-6 at
    OLMo 2's 1b (open-instruct's launch commands); 1e-6 lies between and is what SmolLM3-3B took (alignment-handbook,
    recipes/smollm3/dpo/apo.yaml: 1e-6, warm-up 10 %, one epoch, beta 0.05 over sums). Zephyr 7b's was 5e-7 with 0.01
    (recipes/zephyr-7b-beta/dpo/config_full.yaml). On 64 H100 without model parallelism: the reference is no second
    model in memory but a file of log-probabilities, computed before the first step.
    """
    return preference_recipe("dpo", size, RUNS, LOSSES)
