"""`key=value` overrides of a training recipe: known keys, values of the right type, and what follows from them."""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from glide_nemo.config import check_known_keys, dotted_keys, split_overrides
from glide_nemo.errors import GlideError
from glide_nemo.recipes.lora import check_lora

if TYPE_CHECKING:
    from megatron.bridge.training.config import ConfigContainer


def override(config: ConfigContainer, overrides: Sequence[str]) -> None:
    """Applies overrides in place, through OmegaConf. GlideError for an unknown key or a value that does not fit."""
    from megatron.bridge.training.utils.omegaconf_utils import OverridesError, process_config_with_overrides

    if any(key.partition(".")[0] == "peft" for key in split_overrides(overrides)):  # Bridge's own, an object
        raise GlideError("peft follows from the section lora: pass lora.dim=8, and lora.alpha, lora.target_modules")
    check_known_keys(overrides, dotted_keys(config))
    _check_types(config, overrides)
    try:
        process_config_with_overrides(config, cli_overrides=list(overrides))
    except (OverridesError, TypeError, ValueError) as error:
        raise GlideError(f"cannot apply {' '.join(overrides)}: {str(error).strip().splitlines()[0]}") from error
    if config.train.train_iters < 1:
        raise GlideError(f"train.train_iters={config.train.train_iters} trains nothing: pass 1 or more")
    given = split_overrides(overrides)
    _fit_positions(config, given)
    _fit_sequences(config, given)
    if hasattr(config, "curriculum") and config.curriculum.stages:
        _fit_stages(config, given)
    _fit_schedule(config, given)
    if hasattr(config, "lora"):
        check_lora(config.lora)


def _check_types(config: ConfigContainer, overrides: Sequence[str]) -> None:
    """Bridge takes any value for any key; a word for a number would surface as a traceback later, or not at all."""
    from omegaconf import OmegaConf

    values = OmegaConf.from_dotlist(list(overrides))
    for key, given in split_overrides(overrides).items():
        *sections, name = key.split(".")
        owner: Any = config
        for section in sections:
            owner = getattr(owner, section)
        hint = get_type_hints(type(owner))[name]
        if not _fits(OmegaConf.select(values, key), hint):
            raise GlideError(f"cannot set {key} to '{given}': it takes {_described(hint)}")


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) in (Union, types.UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if hint is types.NoneType:
        return value is None
    if hint is float:
        return type(value) in (int, float)
    if hint in (int, bool):
        return type(value) is hint
    return True  # a string takes anything; of functions, enums and the like Bridge knows more


def _described(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", types.NoneType: "null", str: "a word"}
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_described(part) for part in get_args(hint))
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def _fit_schedule(config: ConfigContainer, given: dict[str, str]) -> None:
    """A run made shorter or longer decays over its own length, and warms up in at most half of it."""
    schedule, steps = config.scheduler, config.train.train_iters
    if "scheduler.lr_decay_iters" not in given:
        schedule.lr_decay_iters = steps
    if "scheduler.lr_warmup_iters" not in given:
        schedule.lr_warmup_iters = min(schedule.lr_warmup_iters, min(steps, schedule.lr_decay_iters) // 2)
    if "scheduler.lr_wsd_decay_iters" not in given:
        schedule.lr_wsd_decay_iters = wsd_decay_iters(schedule.lr_decay_style, schedule.lr_decay_iters)


def wsd_decay_iters(style: str, steps: int) -> int | None:
    """Steps that WSD decays in: the last fifth, where its loss is level with cosine's (arXiv 2405.18392, section 4)."""
    return max(1, steps // 5) if style == "WSD" else None


def _fit_positions(config: ConfigContainer, given: dict[str, str]) -> None:
    """Positions that are not stretched keep no setting of YaRN.

    Megatron-Core scales queries and keys by YaRN's factor wherever one is set, whatever the type of the positions
    (core/transformer/attention.py:326).
    """
    if config.model.position_embedding_type == "yarn":
        return
    for field in fields(config.model):
        if field.name.startswith("yarn_"):
            if f"model.{field.name}" in given:
                kind = config.model.position_embedding_type
                raise GlideError(
                    f"model.{field.name} stretches positions and model.position_embedding_type={kind} does not: "
                    "pass one of the two"
                )
            setattr(config.model, field.name, None)


def _fit_sequences(config: ConfigContainer, given: dict[str, str]) -> None:
    """Data come in sequences as long as the model's, whichever of the two was set."""
    if "dataset.seq_length" in given and "model.seq_length" not in given:
        config.model.seq_length = config.dataset.seq_length
    config.dataset.seq_length = config.model.seq_length


def _fit_stages(config: ConfigContainer, given: dict[str, str]) -> None:
    """Stages given are the length of the run and of its sequences; else they are made as long as those were."""
    stages = config.curriculum.stages
    whole = all(isinstance(stage, list) and len(stage) == 2 for stage in stages)
    if not whole or not all(type(number) is int and number > 0 for stage in stages for number in stage):
        raise GlideError(f"cannot read curriculum.stages={stages}: write [[tokens,steps],[tokens,steps]]")
    if "curriculum.stages" in given:
        config.train.train_iters = sum(steps for _, steps in stages)
        config.model.seq_length = config.dataset.seq_length = stages[-1][0]
        return
    longest, total, steps = stages[-1][0], sum(steps for _, steps in stages), config.train.train_iters
    ends = [sum(each for _, each in stages[: number + 1]) * steps // total for number in range(len(stages))]
    lengths = [max(1, length * config.model.seq_length // longest) for length, _ in stages]
    config.curriculum.stages = [
        [length, end - start] for length, end, start in zip(lengths, ends, [0, *ends], strict=False) if end > start
    ]
