"""Runs a declared chain: each phase from the weights of the one before, into a directory of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from glide_nemo.artifact import Artifact, load
from glide_nemo.data.blend import Part
from glide_nemo.data.messages import is_artifact
from glide_nemo.errors import GlideError
from glide_nemo.planning.plan import TrainingPlan
from glide_nemo.recipes.chain import Chain, Phase
from glide_nemo.training.finetune import ENCODED, finetune
from glide_nemo.training.plans import resolve
from glide_nemo.training.pretrain import plan_training, pretrain


def with_overrides(chain: Chain, overrides: Sequence[str]) -> Chain:
    """The chain with `phase.key=value` overrides added to its phases: `phase_b.train.train_iters=100`.

    Raises GlideError for a phase that it does not have.
    """
    for item in overrides:
        name, _, rest = item.partition(".")
        if name not in chain.phases or "=" not in rest:
            raise GlideError(f"cannot apply {item}: write PHASE.key=value for a phase of {', '.join(chain.phases)}")
        chain.phases[name].overrides.append(rest)
    return chain


def parse_data(chain: Chain, given: Sequence[str]) -> dict[str, Path]:
    """`web=DIR code=DIR conversations=FILE` as typed. GlideError where a name is unknown or one is missing."""
    data = {}
    for text in given:
        name, separator, path = text.partition("=")
        if not separator or name not in chain.data:
            raise GlideError(f"cannot read --data {text}: write NAME=PATH for each of {', '.join(chain.data)}")
        data[name] = Path(path)
    if missing := [name for name in chain.data if name not in data]:
        users = [phase for phase in chain.phases if missing[0] in chain.phases[phase].data]
        raise GlideError(f"no data '{missing[0]}', which {', '.join(users)} trains on: pass --data {missing[0]}=PATH")
    return data


def resolve_chain(chain: Chain) -> dict[str, TrainingPlan]:
    """The plan of each phase, whether or not it fits this machine."""
    return {name: resolve(chain.recipe(name), tuple(phase.overrides)) for name, phase in chain.phases.items()}


def describe(chain: Chain) -> str:
    """The chain as a table, a line a phase: its data, lengths, tokens, schedule and hardware; for --dry-run."""
    plans = resolve_chain(chain)
    rows = [("phase", "recipe", "data", "length", "steps", "tokens a step", "tokens", "schedule", "on")]
    for name, plan in plans.items():
        rows.append(
            (
                name,
                plan.name,
                _blend(chain.phases[name]),
                _lengths(plan),
                f"{plan.train_iters:,}",
                f"{plan.tokens_per_step:,}",
                f"{plan.train_iters * plan.tokens_per_step:,}",
                f"{plan.config['scheduler']['lr_decay_style']} from {plan.config['optimizer']['lr']:g}",
                _hardware(plan),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    total = sum(plan.train_iters * plan.tokens_per_step for plan in plans.values())
    return "\n".join([*lines, f"{total:,} tokens in all; then exported to {', '.join(chain.exports)}, and certified"])


def train_chain(
    chain: Chain, data: Mapping[str, Path], run: Path, *, after: Callable[[str, Artifact], None] = lambda *_: None
) -> Artifact:
    """Trains the phases that are not finished, each into its directory of `run`, and returns the last checkpoint.

    A phase whose settings or inputs have changed is trained again. `after(phase, checkpoint)` is called as each ends.
    The model gets the vocabulary of its tokenizer. Raises GlideError where a recipe does not fit this machine, before
    any is trained, and whatever the phases refuse.
    """
    documents = {
        name: load(data[name], "tokens")
        for phase in chain.phases.values()
        for name in phase.data
        if is_artifact(data[name]) and load(data[name]).kind == "tokens"
    }
    vocabulary = [f"model.vocab_size={tokens.metrics['vocab_size']}" for tokens in documents.values()][:1]
    plans = {
        name: plan_training(chain.recipe(name), [*vocabulary, *phase.overrides]) for name, phase in chain.phases.items()
    }
    checkpoint: Artifact | None = None
    for name, phase in chain.phases.items():
        plan, out = plans[name], run / name
        if plan.objective not in ENCODED:
            parts = [Part(load(data[source], "tokens"), share) for source, share in phase.data.items()]
            checkpoint = pretrain(plan, parts, out, init_from=checkpoint, force=True)
        elif checkpoint is None:
            raise GlideError(f"{plan.name} cannot begin a chain: put a phase that is trained on documents before it")
        else:
            files = [data[source] for source in phase.data]
            overrides = [*vocabulary, *phase.overrides]
            checkpoint = finetune(plan.objective, plan.name, overrides, files, checkpoint, out, force=True)
        after(name, checkpoint)
    if checkpoint is None:
        raise GlideError("a chain without phases trains nothing: declare one")
    return checkpoint


def _blend(phase: Phase) -> str:
    if len(phase.data) == 1:
        return next(iter(phase.data))
    whole = sum(phase.data.values())
    return ", ".join(f"{name} {share / whole:.0%}" for name, share in phase.data.items())


def _lengths(plan: TrainingPlan) -> str:
    stages = (plan.config.get("curriculum") or {}).get("stages") or [[plan.seq_length, plan.train_iters]]
    return " then ".join(f"{length:,}" for length, _ in stages)


def _hardware(plan: TrainingPlan) -> str:
    layout = plan.layout
    if not plan.gpus:
        return f"CPU, {plan.processes} process{'es' if plan.processes > 1 else ''}"
    split = [
        f"{name} {size}"
        for name, size in (("TP", layout.tensor), ("PP", layout.pipeline), ("CP", layout.context))
        if size > 1
    ]
    return ", ".join([f"{plan.gpus} GPU{'s' if plan.gpus > 1 else ''} of {plan.gpu_gb:.0f} GB", *split])
