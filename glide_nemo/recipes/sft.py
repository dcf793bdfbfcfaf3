"""Supervised fine-tuning: from a model that goes on with text to one that answers in turns."""

from __future__ import annotations

from glide_nemo.recipes import phase_c
from glide_nemo.recipes.pretraining import Run, pretraining
from glide_nemo.recipes.recipe import TrainingRecipe

RUNS = {
    "nano": Run(
        seq_length=1_024, global_batch_size=4, micro_batch_size=4, train_iters=140, lr=1e-3, min_lr=1e-4,
        warmup_iters=10, decay="cosine", precision="fp32", save_interval=35, eval_interval=70, eval_iters=8,
    ),
    "125m": Run(
        seq_length=8_192, global_batch_size=16, micro_batch_size=4, train_iters=3_000, lr=2e-4, min_lr=2e-5,
        warmup_iters=90, decay="cosine", gpus=1,
    ),
    "3b": Run(
        seq_length=8_192, global_batch_size=128, micro_batch_size=1, train_iters=3_000, lr=1e-5, min_lr=1e-6,
        warmup_iters=90, decay="cosine", gpus=64,
    ),
}  # fmt: skip


def sft(size: str) -> TrainingRecipe:
    """supervised fine-tuning on packed conversations, continuing phase C's weights

    At 3b: 1.05 M tokens a step and a peak of 1e-5, which lie between SmolLM3-3B's 8.4 M and 2e-5 (alignment-handbook,
    recipes/smollm3/sft/sft.yaml) and Tulu 3 8B's 128 conversations, about 0.1 M, and 5e-6 (arXiv 2411.15124, section
    4.3). Warm-up over 3 % as in both, cosine to a tenth, packing and loss on assistant tokens only as SmolLM3. 3.1 B
    tokens: Tulu 3 took its set twice, SmolLM3 five times. On 64 H100 without model parallelism, as in pretraining:
    rows are shorter than phase C's context, which the model keeps, since few conversations are longer.
    """
    from glide_nemo.data.packed_dataset import PackedConversations
    from glide_nemo.model.architecture import architecture
    from glide_nemo.model.provider import model_provider

    recipe = pretraining("sft", size, RUNS, continues="phaseC")
    recipe.objective = "sft"
    config = recipe.config
    stretched = architecture(size).stretched(phase_c.RUNS[size].seq_length)
    config.model = model_provider(stretched, seq_length=config.model.seq_length)
    config.model.calculate_per_token_loss = True
    config.dataset = PackedConversations(
        seq_length=config.model.seq_length,
        num_workers=config.dataset.num_workers,
        dataloader_type="single",
    )
    # The decay of pretraining would pull weights that fine-tuning hardly moves.
    config.optimizer.weight_decay = config.scheduler.start_weight_decay = config.scheduler.end_weight_decay = 0.0
    return recipe
