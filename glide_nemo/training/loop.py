"""The child's side of training: what runs in a process with Megatron in it. Each function is called by a worker."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from typing import Any

from glide_nemo.config import as_plain
from glide_nemo.errors import GlideError
from glide_nemo.planning.memory import Layout
from glide_nemo.planning.plan import TrainingPlan
from glide_nemo.training.processes import joined
from glide_nemo.training.run_recipe import Paths, recipe_of_run

Report = Callable[[dict[str, Any]], None]


def part_name(number: int) -> str:
    """Of a blend's part among the inputs of a checkpoint: tokens, tokens_2, ..."""
    return "tokens" if number == 0 else f"tokens_{number + 1}"


def plan(name: str, overrides: Sequence[str], report: Report) -> TrainingPlan:
    """A recipe resolved and in numbers."""
    from glide_nemo.model.provider import architecture_of
    from glide_nemo.recipes.layout import processes_of_a_copy
    from glide_nemo.recipes.recipe import build_recipe, split_name

    recipe = build_recipe(name, overrides)
    config = recipe.config
    return TrainingPlan(
        name=recipe.name,
        overrides=tuple(overrides),
        config=as_plain(config),
        architecture=architecture_of(config.model, split_name(name)[1]),
        layout=Layout(
            gpus=recipe.gpus or processes_of_a_copy(recipe),
            tensor=config.model.tensor_model_parallel_size,
            pipeline=config.model.pipeline_model_parallel_size,
            context=config.model.context_parallel_size,
            micro_batch_size=config.train.micro_batch_size,
            mixed_precision=config.mixed_precision is not None,
            distributed_optimizer=config.ddp.use_distributed_optimizer,
        ),
        gpus=recipe.gpus,
        gpu_gb=recipe.gpu_gb,
        objective=recipe.objective,
        continues=recipe.continues,
        train_iters=config.train.train_iters,
        global_batch_size=config.train.global_batch_size,
        seq_length=config.model.seq_length,
    )


def count_parameters(name: str, overrides: Sequence[str], report: Report) -> tuple[int, int]:
    """Parameters of the recipe's model as Megatron-Core builds it, and those it trains: fewer where it has adapters.

    On the meta device: nothing is allocated but adapters.
    """
    from megatron.bridge.training.model_load_save import temporary_distributed_context

    from glide_nemo.recipes.recipe import build_recipe
    from glide_nemo.training.lora import adapters

    config = build_recipe(name, overrides).config
    provider = config.model
    provider.tensor_model_parallel_size = provider.pipeline_model_parallel_size = provider.context_parallel_size = 1
    provider.sequence_parallel = False
    provider.init_model_with_meta_device = True
    with temporary_distributed_context(backend="gloo"):
        provider.finalize()
        (model,) = provider.provide_distributed_model(wrap_with_ddp=False)
        whole = trained = sum(parameter.numel() for parameter in model.parameters())
        if hasattr(config, "lora") and config.lora.dim:
            adapted = adapters(config.lora)(model)
            trained = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
        return whole, trained


@joined()
def train(name: str, overrides: Sequence[str], paths: Paths, report: Report) -> float | None:
    """Runs a recipe from its last checkpoint in `paths.out`, or from the start, to its end. Returns its held-out loss.

    The end is that of a stage where a curriculum has several: call it again until the last step is saved.
    """
    from megatron.bridge.training.callbacks import Callback
    from megatron.bridge.training.pretrain import pretrain
    from torch.distributed.checkpoint.api import CheckpointException

    from glide_nemo.model.iterations import latest_iteration
    from glide_nemo.training.checkpoints import Reproducible, settle, verify
    from glide_nemo.training.continued_optimizer import ContinuedOptimizer
    from glide_nemo.training.curriculum import CountInSequences, enter_stage
    from glide_nemo.training.curves import Curves
    from glide_nemo.training.ema import WeightAverage
    from glide_nemo.training.lora import MergedWeights, adapt

    recipe, trained_towards = recipe_of_run(name, overrides, paths)
    config = recipe.config
    adapts = hasattr(config, "lora") and config.lora.dim > 0
    resumable = paths.out / ("adapter" if adapts else "checkpoints")
    config.checkpoint.save = config.checkpoint.load = str(resumable)
    names = {paths.out: ".", paths.tokens: "tokens", paths.tokenizer: "tokenizer"}
    names |= {path: part_name(number) for number, (path, _) in enumerate(paths.blended_in, 1)}
    step = settle(resumable)
    added: list[Callback] = []  # GLiDE's sections are there where a recipe uses its container
    if hasattr(config, "curriculum") and config.curriculum.stages:
        enter_stage(config, step)
        added.append(CountInSequences())
    if hasattr(config, "ema") and config.ema.interval:
        settle(paths.out / "ema", step)
        added.append(WeightAverage(config.ema, paths.out / "ema", names))
    if adapts:
        adapt(recipe, paths)
        settle(paths.out / "checkpoints", step)
        added.append(MergedWeights(paths.out / "checkpoints", names))
    if step >= config.train.train_iters:
        config.checkpoint.save = None  # trained, killed while it was evaluated; Bridge would save it again
    if paths.init_from:
        start = latest_iteration(paths.init_from)
        verify(start)
        names[paths.init_from] = "init_from"
        config.checkpoint.pretrained_checkpoint = str(start)
        if recipe.continues_optimizer:
            added.append(ContinuedOptimizer(start))
    curves = Curves(paths.out / "loss.jsonl", paths.out / "logs" / "throughput.jsonl", report)
    try:
        callbacks = [curves, *added, Reproducible(names), *trained_towards.callbacks(config, paths, report)]
        pretrain(config, trained_towards.forward_step, callbacks)
    except CheckpointException as error:  # it does not say why, the log does in a way
        free = shutil.disk_usage(paths.out).free / 1e6
        raise GlideError(
            f"cannot save a checkpoint in {paths.out}, its disk has {free:,.0f} MB free: "
            "make room there and run the same command, it goes on"
        ) from error
    except RuntimeError as error:
        if "Unexpected result" not in str(error):  # Megatron-Core's check of the loss and the gradients
            raise
        raise curves.diverged() from error
    return curves.heldout_loss
