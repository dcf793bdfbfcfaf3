"""Phase C: a longer context, through YaRN and a curriculum of lengths."""

from __future__ import annotations

from glide_nemo.recipes.pretraining import Run, pretraining
from glide_nemo.recipes.recipe import TrainingRecipe

RUNS = {
    "nano": Run(  # 256 to 1,024
        seq_length=1_024, global_batch_size=2, micro_batch_size=2, train_iters=120, lr=5e-4, min_lr=5e-5,
        warmup_iters=10, decay="linear", precision="fp32", save_interval=30, eval_interval=60, eval_iters=8,
        stages=((512, 60), (1_024, 60)),
    ),
    "125m": Run(  # 2,048 to 8,192, 0.1 B tokens
        seq_length=8_192, global_batch_size=64, micro_batch_size=4, train_iters=200, lr=6e-5, min_lr=6e-6,
        warmup_iters=20, decay="linear", gpus=1, stages=((4_096, 100), (8_192, 100)),
    ),
    "3b": Run(  # 8,192 to 32,768, 1 B tokens
        seq_length=32_768, global_batch_size=64, micro_batch_size=1, train_iters=480, lr=2e-5, min_lr=2e-6,
        warmup_iters=20, decay="linear", gpus=64, context_parallel_size=4, stages=((16_384, 240), (32_768, 240)),
    ),
}  # fmt: skip


def phase_c(size: str) -> TrainingRecipe:
    """a context four times as long through YaRN, continuing the weights of phase B

    At 3b: YaRN's own extension took 400 steps at 2e-5, betas (0.9, 0.95) and a warm-up of 20 steps (arXiv 2309.00071,
    section 4.1); 2e-5 is also what phase B's cosine ends at, so nothing learnt there is shaken. 2.1 M tokens a step as
    in phases A and B. Two stages that double the length, as SmolLM3-3B was extended in two and Llama 3 in six (arXiv
    2407.21783, section 3.4.2): each begins where all but the farthest positions are known. 1 B tokens are 3 % of phase
    B's; Llama 3 spent 5 % and SmolLM3 1 %. On 64 H100, four to a sequence, which hold 8,192 tokens each as in phase B.
    """
    return pretraining("phaseC", size, RUNS, continues="phaseB", stretched=True)
