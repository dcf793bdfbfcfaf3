"""Phase B: the main run. Longer sequences, cosine decay to a tenth."""

from __future__ import annotations

from glide_nemo.recipes.pretraining import Run, pretraining
from glide_nemo.recipes.recipe import TrainingRecipe

RUNS = {
    "nano": Run(
        seq_length=256, global_batch_size=8, micro_batch_size=8, train_iters=420, lr=2e-3, min_lr=2e-4,
        warmup_iters=10, decay="cosine", precision="fp32", save_interval=60, eval_interval=140, eval_iters=8,
        ema_interval=10, ema_decay=0.7,
    ),
    "125m": Run(  # 2.5 B tokens, 20 a parameter (arXiv 2203.15556)
        seq_length=2_048, global_batch_size=256, micro_batch_size=16, train_iters=4_770, lr=6e-4, min_lr=6e-5,
        warmup_iters=100, decay="cosine", gpus=1, ema_interval=10, ema_decay=0.97,
    ),
    "3b": Run(  # 30 B tokens, the last fifth of them in sequences of 8,192
        seq_length=8_192, global_batch_size=256, micro_batch_size=1, train_iters=14_305, lr=2e-4, min_lr=2e-5,
        warmup_iters=100, decay="cosine", gpus=64, stages=((4_096, 11_444), (8_192, 2_861)),
        ema_interval=10, ema_decay=0.99,
    ),
}  # fmt: skip


def phase_b(size: str) -> TrainingRecipe:
    """main pretraining with cosine decay, continuing the weights of phase A

    At 3b: 2.1 M tokens a step, peak 2e-4 and betas (0.9, 0.95) as SmolLM3-3B (smollm, stage1_8T.yaml). Its optimizer
    starts afresh, hence the short warm-up. On 64 H100 without model parallelism, as in phase A.

    The averaged weights look back over 7 % of the run, interval / (1 - decay) steps: 1,000 of 14,305, 333 of 4,770 and
    33 of 420. An average's best width is a share of the run, near a tenth, and not a number of steps (Karras et al.,
    arXiv 2312.02696, section 3), and its gain is that of a decayed learning rate, which here comes on top (Sandler et
    al., arXiv 2301.02312). Ten steps between updates lose nothing: the weights hardly turn within a tenth of the width.
    """
    return pretraining("phaseB", size, RUNS, continues="phaseA")
