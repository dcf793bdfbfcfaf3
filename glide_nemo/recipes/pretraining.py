"""From a pretraining run in numbers to Megatron-Bridge's ConfigContainer: what phases A and B share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from glide_nemo.model.architecture import architecture
from glide_nemo.recipes.overrides import wsd_decay_iters
from glide_nemo.recipes.recipe import TrainingRecipe, prefix

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Run:
    """A pretraining run: how long, how fast, on what."""

    seq_length: int  # tokens
    global_batch_size: int  # sequences a step
    micro_batch_size: int  # sequences a device at a time
    train_iters: int
    lr: float
    min_lr: float
    warmup_iters: int
    decay: Literal["constant", "linear", "cosine", "WSD"]  # WSD: warm-up, stable, decay over the last fifth
    precision: Literal["fp32", "bf16_mixed"] = "bf16_mixed"
    gpus: int = 0
    tensor_model_parallel_size: int = 1
    pipeline_model_parallel_size: int = 1
    context_parallel_size: int = 1
    stages: tuple[tuple[int, int], ...] = ()  # a curriculum: (tokens of a sequence, steps), the last of seq_length
    save_interval: int = 500  # steps; what a kill loses at most
    eval_interval: int = 500
    eval_iters: int = 32  # batches of held-out tokens
    ema_interval: int = 0  # steps from one update of the averaged weights to the next; 0 keeps none
    ema_decay: float = 0.99

    @property
    def tokens(self) -> int:
        return self.train_iters * self.global_batch_size * self.seq_length


def pretraining(
    phase: str,
    size: str,
    runs: Mapping[str, Run],
    *,
    continues: str | None = None,
    continues_optimizer: bool = False,
    stretched: bool = False,
) -> TrainingRecipe:
    """The recipe of a phase at a size: `runs` holds the run of each size.

    `stretched` extends the architecture's context to the run's by YaRN.
    """
    # Megatron-Bridge takes seconds to import, which listing the recipes should not.
    from megatron.bridge.training import config as bridge
    from megatron.bridge.training.tokenizers.config import TokenizerConfig

    from glide_nemo.errors import GlideError
    from glide_nemo.model.provider import model_provider
    from glide_nemo.recipes.container import CurriculumConfig, EmaConfig, GlideContainer

    if size not in runs:
        raise GlideError(f"{phase} has no run of size '{size}': there are {', '.join(runs)}; register a recipe for it")
    run = runs[size]
    shape = architecture(size).stretched(run.seq_length) if stretched else architecture(size)
    config = GlideContainer(
        model=model_provider(
            shape,
            seq_length=run.seq_length,
            tensor_model_parallel_size=run.tensor_model_parallel_size,
            pipeline_model_parallel_size=run.pipeline_model_parallel_size,
            context_parallel_size=run.context_parallel_size,
        ),
        train=bridge.TrainingConfig(
            train_iters=run.train_iters,
            global_batch_size=run.global_batch_size,
            micro_batch_size=run.micro_batch_size,
            exit_signal_handler=True,  # SIGTERM (a preempted job) saves a checkpoint first
        ),
        validation=bridge.ValidationConfig(eval_interval=run.eval_interval, eval_iters=run.eval_iters),
        optimizer=bridge.OptimizerConfig(
            optimizer="adam",
            lr=run.lr,
            min_lr=run.min_lr,
            adam_beta1=0.9,
            adam_beta2=0.95,
            adam_eps=1e-8,
            weight_decay=0.1,
            clip_grad=1.0,
            use_distributed_optimizer=True,
        ),
        scheduler=bridge.SchedulerConfig(
            lr_decay_style=run.decay,
            lr_decay_iters=run.train_iters,
            lr_warmup_iters=run.warmup_iters,
            lr_wsd_decay_iters=wsd_decay_iters(run.decay, run.train_iters),
            lr_wsd_decay_style="minus_sqrt",
            start_weight_decay=0.1,
            end_weight_decay=0.1,
            weight_decay_incr_style="constant",
        ),
        ddp=bridge.DistributedDataParallelConfig(
            use_distributed_optimizer=True,
            grad_reduce_in_fp32=True,
            check_for_nan_in_grad=True,
            overlap_grad_reduce=run.gpus > 1,
            overlap_param_gather=run.gpus > 1,
        ),
        dataset=bridge.GPTDatasetConfig(
            seq_length=run.seq_length,
            random_seed=1234,
            # Documents are packed end to end and attend across their borders, as in Llama 2 and SmolLM.
            reset_position_ids=False,
            reset_attention_mask=False,
            eod_mask_loss=False,
            num_workers=2 if run.gpus else 0,
            dataloader_type="single",
        ),
        logger=bridge.LoggerConfig(log_interval=10),
        tokenizer=TokenizerConfig(tokenizer_type="HuggingFaceTokenizer"),
        checkpoint=bridge.CheckpointConfig(
            save_interval=run.save_interval,
            most_recent_k=2,
            ckpt_format="torch_dist",
            dist_ckpt_optim_fully_reshardable=True,  # the optimizer too loads at any other layout
        ),
        rng=bridge.RNGConfig(seed=1234),
        mixed_precision=None if run.precision == "fp32" else run.precision,
        ema=EmaConfig(run.ema_interval, run.ema_decay),
        curriculum=CurriculumConfig([list(stage) for stage in run.stages]),
    )
    name = f"{prefix(size)}_{phase}"
    return TrainingRecipe(name, config, gpus=run.gpus, continues=continues, continues_optimizer=continues_optimizer)
