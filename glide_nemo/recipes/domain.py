"""Continued pretraining on a domain: any packed tokens and a checkpoint, with replay of what it was pretrained on."""

from __future__ import annotations

from glide_nemo.recipes.pretraining import Run, pretraining
from glide_nemo.recipes.recipe import TrainingRecipe

RUNS = {
    "nano": Run(
        seq_length=256, global_batch_size=8, micro_batch_size=8, train_iters=100, lr=1e-3, min_lr=1e-4,
        warmup_iters=5, decay="cosine", precision="fp32", save_interval=25, eval_interval=50, eval_iters=8,
    ),
    "125m": Run(  # 0.5 B tokens
        seq_length=2_048, global_batch_size=256, micro_batch_size=16, train_iters=1_000, lr=3e-4, min_lr=3e-5,
        warmup_iters=20, decay="cosine", gpus=1,
    ),
    "3b": Run(  # 5 B tokens
        seq_length=8_192, global_batch_size=256, micro_batch_size=1, train_iters=2_385, lr=1e-4, min_lr=2e-6,
        warmup_iters=48, decay="cosine", gpus=64,
    ),
}  # fmt: skip

REPLAY = 0.05  # of the sequences


def domain(size: str) -> TrainingRecipe:
    """continued pretraining on a domain's tokens, replaying 5 % of what the checkpoint was pretrained on

    The learning rate is warmed up again and decays again, and a share of the old documents is replayed: together these
    match training anew on both (Ibrahim et al., arXiv 2403.08763), with 5 % of replay where the domain is near the old
    documents and 25 % where it is far, as another language is: `replay.share=0.25`. The peak is half of phase B's,
    since a higher one forgets more (section 6 there). Which documents are replayed is no setting: the checkpoint's
    record names them.
    """
    recipe = pretraining("domain", size, RUNS, continues="phaseB")
    recipe.config.replay.share = REPLAY
    return recipe
