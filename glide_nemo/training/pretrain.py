"""The pretrain step: a recipe and packed tokens to a checkpoint, resumable, with its curves."""

from __future__ import annotations

import json
import os
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from glide_nemo.artifact import Artifact, Draft
from glide_nemo.console import progress
from glide_nemo.data.blend import Part, blended
from glide_nemo.errors import GlideError
from glide_nemo.model.architecture import GlideArchitecture
from glide_nemo.model.iterations import latest_iteration
from glide_nemo.planning.fit import check_fit
from glide_nemo.planning.machine import this_machine
from glide_nemo.planning.plan import TrainingPlan
from glide_nemo.steps import run_step
from glide_nemo.training import loop
from glide_nemo.training.divergence import documents_named
from glide_nemo.training.lineage import pretraining_tokens, tokenizer_of
from glide_nemo.training.plans import resolve
from glide_nemo.training.processes import run_processes
from glide_nemo.training.worker import Event, run_with_megatron

# Of a checkpoint's architecture, what the next phase may set anew: no weight has its shape from it.
FREE_TO_DIFFER = {"name", "seq_length", "init_method_std"}
STRETCHED_ONCE = {"rope_scaling_factor", "rope_original_context", "rope_beta_fast", "rope_beta_slow"}
Weights = Literal["trained", "ema"]
CURVE_POINTS = 300  # at most, in artifact.json; loss.jsonl has every step
ENDS = 0.05  # of the steps: their mean loss is what a run began and ended with, since batches differ by a nat at nano


def plan_training(name: str, overrides: Sequence[str] = ()) -> TrainingPlan:
    """A recipe resolved for a run here. GlideError where the recipe or a key is unknown, or it does not fit."""
    plan = resolve(name, tuple(overrides))
    check_fit(plan, this_machine())
    return plan


def dry_run(name: str, overrides: Sequence[str] = ()) -> str:
    """The whole resolved config of a recipe, and what it asks of a machine; the model is built on the meta device."""
    from omegaconf import OmegaConf

    plan = resolve(name, tuple(overrides))
    counted, trained = run_with_megatron(loop.count_parameters, name, tuple(overrides))
    return f"{OmegaConf.to_yaml(OmegaConf.create(plan.config))}\n{plan.describe(counted, trained, this_machine())}"


def pretrain(
    plan: TrainingPlan,
    tokens: Artifact | Sequence[Part],
    out: str | os.PathLike[str],
    *,
    init_from: Artifact | None = None,
    init_weights: Weights = "trained",
    force: bool = False,
) -> Artifact:
    """Trains a recipe on packed tokens, from random weights or those of another checkpoint, trained or averaged.

    `tokens` may be a blend; with `replay.share` in the recipe, what the checkpoint was pretrained on joins it.

    Writes `checkpoints/` (Megatron torch_dist, with the optimizer and random state), `ema/` where the recipe averages
    its weights, `adapter/` where it trains adapters and merges them, `loss.jsonl` and `logs/throughput.jsonl`. Killed,
    it goes on from its last checkpoint, with the same result.

    Raises GlideError where the recipe does not fit the tokens or the checkpoint it starts from.
    """
    parts = _with_replay(plan, blended([Part(tokens)] if isinstance(tokens, Artifact) else tokens), init_from)
    for part in parts:
        _check_vocabulary(plan, part.tokens)
        _check_enough(plan, part.tokens)
    if init_from is not None:
        _check_same_shape(plan, init_from)
        _check_same_tokenizer(parts[0].tokens, init_from)
    inputs = {loop.part_name(number): part.tokens for number, part in enumerate(parts)}
    inputs |= {"init_from": init_from} if init_from else {}

    def write(draft: Draft) -> None:
        start = weights_of(init_from, init_weights) if init_from else None
        heldout_loss = _train(plan, parts, start, draft)
        shutil.rmtree(draft.path / ".index_cache", ignore_errors=True)
        for folder in ("checkpoints", "ema", "adapter"):
            if (draft.path / folder).exists():
                _keep_newest(draft.path / folder)
        _state_metrics(plan, heldout_loss, draft)

    config = plan.config | ({"init_weights": init_weights} if init_weights != "trained" else {})
    config |= {"blend": {name: part.share for name, part in zip(inputs, parts, strict=False)}} if parts[1:] else {}
    return run_step(plan.name, out, "checkpoint", config, inputs, write, force=force)


def weights_of(checkpoint: Artifact, weights: Weights) -> Path:
    """The directory of Megatron checkpoints with a run's trained weights, or their average.

    Raises GlideError where the run kept no average.
    """
    folder = checkpoint.path / {"trained": "checkpoints", "ema": "ema"}[weights]
    if weights == "ema" and not folder.exists():
        raise GlideError(f"{checkpoint.path} kept no average of its weights: train it with ema.interval=10")
    return folder


def _with_replay(plan: TrainingPlan, parts: list[Part], init_from: Artifact | None) -> list[Part]:
    """The blend, and `replay.share` of what the checkpoint was pretrained on."""
    share = (plan.config.get("replay") or {}).get("share", 0.0)  # a third party's container may have no such section
    if share == 0:
        return parts
    if not 0 < share < 1:
        raise GlideError(f"cannot replay a share of {share:g}: pass replay.share between 0 and 1")
    if init_from is None:
        raise GlideError(f"{plan.name} replays what a checkpoint learnt: pass one with --from, or replay.share=0")
    new = [Part(part.tokens, part.share * (1 - share)) for part in parts]
    return blended([*new, Part(pretraining_tokens(init_from), share)])


def _train(plan: TrainingPlan, parts: Sequence[Part], start: Path | None, draft: Draft) -> float | None:
    """Runs the training in a worker and shows its progress; returns the held-out loss at the end."""
    tokens = parts[0].tokens
    paths = loop.Paths(
        tokens=tokens.path.resolve(),
        tokenizer=tokens.input("tokenizer").path.resolve(),
        out=draft.path.resolve(),
        init_from=start.resolve() if start else None,
        blended_in=tuple((part.tokens.path.resolve(), part.share) for part in parts[1:]),
    )
    done = 0
    with progress(plan.name, plan.train_iters, "steps") as advance:

        def show(event: Event) -> None:
            nonlocal done
            if event.get("started_at", 0) > done:
                advance(event["started_at"] - done, "resumed")
                done = event["started_at"]
            elif "loss" in event:
                done = event["step"]
                advance(1, f"loss {event['loss']:.3f}, {event['tokens_per_second']:,.0f} tokens/s")

        log = draft.logs / "megatron.log"
        while True:  # once for each stage of a curriculum that is left
            training = (loop.train, plan.name, plan.overrides, paths)
            with documents_named(plan.name, plan.overrides, paths, log):
                if plan.processes == 1:
                    heldout_loss = run_with_megatron(*training, log=log, on_event=show)
                else:
                    heldout_loss = run_processes(plan.processes, *training, log=log, on_event=show)[-1]
            if _step(latest_iteration(draft.path / "checkpoints")) >= plan.train_iters:
                return heldout_loss


def _state_metrics(plan: TrainingPlan, heldout_loss: float | None, draft: Draft) -> None:
    losses = _read_lines(draft.path / "loss.jsonl")
    rates = _read_lines(draft.logs / "throughput.jsonl")
    evaluations = _read_lines(draft.path / "heldout.jsonl")
    rate = sorted(line["tokens_per_second"] for line in rates)[len(rates) // 2]
    stride = -(-len(losses) // CURVE_POINTS)
    ends = max(1, round(ENDS * len(losses)))
    first, final = (statistics.fmean(line["loss"] for line in some) for some in (losses[:ends], losses[-ends:]))
    counted, trained = run_with_megatron(loop.count_parameters, plan.name, plan.overrides)
    draft.metrics = {
        "recipe": plan.name,
        "objective": plan.objective,
        "architecture": plan.architecture,
        "parameters": counted,
        "trainable_parameters": trained,
        "flops_per_token": plan.architecture.flops_per_token(plan.seq_length),
        "seq_length": plan.seq_length,
        "train_iters": plan.train_iters,
        "tokens": losses[-1]["tokens"],
        "final_loss": final,
        "heldout_loss": heldout_loss,
        "heldout": evaluations[-1] if evaluations else None,  # with what the objective measures beside the loss
        "tokens_per_second": rate,
        "curve": [
            [loss["step"], loss["loss"], loss["learning_rate"], rate["tokens_per_second"]]
            for loss, rate in zip(losses[::stride], rates[::stride], strict=True)
        ],
    }
    if "reward_accuracy" in losses[0]:
        draft.metrics["rewards"] = [
            [line["step"], line["reward_accuracy"], line["reward_margin"]] for line in losses[::stride]
        ]
    heldout = "" if heldout_loss is None else f", held-out {heldout_loss:.2f}"
    draft.summary = f"{losses[-1]['tokens'] / 1e6:.2f} M tokens, loss {first:.2f} -> {final:.2f}{heldout}, "
    draft.summary += f"{rate:,.0f} tokens/s"


def _read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _step(iteration: Path) -> int:
    return int(iteration.name.removeprefix("iter_"))


def _keep_newest(checkpoints: Path) -> None:
    """Removes all iterations but the newest, which is the result."""
    newest = latest_iteration(checkpoints)
    for path in checkpoints.glob("iter_*"):
        if path != newest:
            shutil.rmtree(path)


def _check_vocabulary(plan: TrainingPlan, tokens: Artifact) -> None:
    model, tokenizer = plan.architecture.vocab_size, tokens.metrics["vocab_size"]
    if model != tokenizer:
        raise GlideError(
            f"{plan.name} has a vocabulary of {model}, the tokens in {tokens.path} of {tokenizer}: "
            f"pack them with a tokenizer of that size, or pass model.vocab_size={tokenizer}"
        )


def _check_enough(plan: TrainingPlan, tokens: Artifact) -> None:
    for split in ("train", "heldout"):
        held = tokens.metrics[split]["tokens"]
        if held <= plan.seq_length and "rows" not in tokens.metrics[split]:  # a row is padded
            raise GlideError(
                f"too little text, the {split} split in {tokens.path} holds {held} tokens and {plan.name} trains on "
                f"sequences of {plan.seq_length}: pack a larger corpus"
            )


def _check_same_shape(plan: TrainingPlan, start: Artifact) -> None:
    theirs = start.metrics["architecture"]
    free = FREE_TO_DIFFER
    if theirs.get("rope_scaling_factor", 1) == 1:
        free = free | STRETCHED_ONCE
    elif any(getattr(plan.architecture, key) != theirs[key] for key in STRETCHED_ONCE):
        settings = GlideArchitecture(**theirs).positions
        wanted = " ".join(f"model.{key}={value}" for key, value in settings.items())
        raise GlideError(
            f"{start.path} has positions stretched by YaRN, {plan.name} would read them otherwise: pass {wanted}"
        )
    for key, ours in vars(plan.architecture).items():
        if key not in free and ours != theirs.get(key):
            raise GlideError(
                f"{start.path} cannot start {plan.name}, its {key} is {theirs.get(key)} and not {ours}: "
                "start from a checkpoint of the same architecture"
            )


def _check_same_tokenizer(tokens: Artifact, start: Artifact) -> None:
    """Two tokenizers of one size give the same numbers to different pieces; the loss would only look high."""
    try:
        theirs = tokenizer_of(start)
    except GlideError:  # copied without what it was made from, a checkpoint does not know its tokenizer any more
        return
    if tokens.record["inputs"]["tokenizer"]["sha256"] != theirs.sha256:
        ours, own = tokens.input("tokenizer").path.resolve(), theirs.path.resolve()
        raise GlideError(
            f"{tokens.path} was packed with the tokenizer {ours} and {start.path} trained with {own}: "
            "pack the text with the checkpoint's own"
        )
