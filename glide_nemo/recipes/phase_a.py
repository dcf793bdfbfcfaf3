"""Phase A: warm-up. Short sequences and a constant learning rate, so that the embeddings settle cheaply."""

from __future__ import annotations

from glide_nemo.recipes.pretraining import Run, pretraining
from glide_nemo.recipes.recipe import TrainingRecipe

RUNS = {
    "nano": Run(
        seq_length=128, global_batch_size=16, micro_batch_size=16, train_iters=80, lr=2e-3, min_lr=2e-4,
        warmup_iters=20, decay="constant", precision="fp32", save_interval=40, eval_interval=80, eval_iters=8,
    ),
    "125m": Run(  # 0.5 B tokens; learning rate of GPT-3 Small (arXiv 2005.14165, table 2.1)
        seq_length=1_024, global_batch_size=512, micro_batch_size=32, train_iters=1_000, lr=6e-4, min_lr=6e-5,
        warmup_iters=200, decay="constant", gpus=1,
    ),
    "3b": Run(  # 1.5 B tokens
        seq_length=2_048, global_batch_size=1_024, micro_batch_size=4, train_iters=715, lr=2e-4, min_lr=2e-5,
        warmup_iters=500, decay="constant", gpus=64,
    ),
}  # fmt: skip


def phase_a(size: str) -> TrainingRecipe:
    """warm-up on short sequences, from random weights

    At 3b: 2.1 M tokens a step and a peak of 2e-4, as SmolLM3-3B trained (2.36 M, 2e-4; smollm, stage1_8T.yaml).
    On 64 H100 without model parallelism: weights, fp32 gradients and the sharded optimizer take 20 GB of 80.
    """
    return pretraining("phaseA", size, RUNS)
