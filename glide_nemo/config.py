"""Config dataclasses: `key=value` overrides through OmegaConf, plain values for artifacts, and digests."""

from __future__ import annotations

import dataclasses
import difflib
import enum
import functools
import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

from glide_nemo.errors import GlideError


def split_overrides(overrides: Sequence[str]) -> dict[str, str]:
    """`["a.b=1", "c=x"]` as a dictionary; anything that is not `key=value` is an error."""
    pairs = {}
    for item in overrides:
        key, separator, value = item.partition("=")
        if not separator or not key:
            raise GlideError(f"cannot read the argument '{item}': overrides are written key=value")
        pairs[key] = value
    return pairs


def dotted_keys(config: Any, prefix: str = "") -> list[str]:
    """Every key of a dataclass, nested ones dotted (`train.train_iters`)."""
    keys = []
    for field in dataclasses.fields(config):
        name = f"{prefix}{field.name}"
        keys.append(name)
        value = getattr(config, field.name, None)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            keys += dotted_keys(value, f"{name}.")
    return keys


def check_known_keys(overrides: Sequence[str], known: Iterable[str]) -> None:
    """Raises GlideError for the first key that is not known, naming the nearest one that is."""
    known = list(known)
    for key in split_overrides(overrides):
        if key in known:
            continue
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        if not near:  # a right last part in the wrong section is the most common slip
            near = [name for name in known if name.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]][:1]
        advice = f"did you mean '{near[0]}'?" if near else "--dry-run prints every key"
        raise GlideError(f"unknown key '{key}': {advice}")


def apply_overrides[ConfigT](config: ConfigT, overrides: Sequence[str]) -> ConfigT:
    """A copy of a dataclass with `key=value` overrides applied and type-checked.

    Raises GlideError for an unknown key (naming the nearest) and for a value of the wrong type.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    check_known_keys(overrides, dotted_keys(config))
    try:
        merged = OmegaConf.merge(OmegaConf.structured(config), OmegaConf.from_dotlist(list(overrides)))
        return OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        if "is not a ListConfig" in reason:
            reason = "it is a list, written key=[first,second]"
        raise GlideError(f"cannot apply {' '.join(overrides)}: {reason}") from error


def as_plain(value: Any) -> Any:
    """Any config value as JSON types: dataclasses become dictionaries, paths, enums and callables their names."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_plain(getattr(value, field.name, None)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): as_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [as_plain(item) for item in value]
        return sorted(items, key=str) if isinstance(value, (set, frozenset)) else items
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no infinity
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, functools.partial):
        return as_plain(value.func)
    if isinstance(value, (enum.Enum, os.PathLike)):
        return str(value)
    # Functions, types (torch.float32) and other objects: a name, never a memory address, or digests would differ.
    return getattr(value, "__qualname__", None) or (
        str(value) if " at 0x" not in str(value) else type(value).__qualname__
    )


def digest(value: Any) -> str:
    """sha256 of a config's JSON form, keys sorted."""
    return hashlib.sha256(json.dumps(as_plain(value), sort_keys=True).encode()).hexdigest()
