"""Reversible replacement of attributes: a seam that is not there is an error with its name, not a surprise later."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from glide_nemo.errors import GlideError

DISTRIBUTIONS = {"megatron.core": "megatron-core", "megatron.bridge": "megatron-bridge", "torch": "torch"}


class Seams(ExitStack):
    """Replaces attributes of modules and classes until it is closed."""

    def replace(self, owner: Any, name: str, replacement: Any, *, answers: str) -> Any:
        """Sets `owner.name`, returns what was there. `answers` names the line elsewhere that makes this necessary."""
        if not hasattr(owner, name):
            raise _missing(owner, name, answers)
        # From __dict__, so that a staticmethod or property is put back as the descriptor it was.
        inherited = name not in vars(owner)
        original = getattr(owner, name) if inherited else vars(owner)[name]
        setattr(owner, name, replacement)
        self.callback(delattr, owner, name) if inherited else self.callback(setattr, owner, name, original)
        return original

    def replace_in(self, module: str, name: str, replacement: Any, *, answers: str) -> Any:
        """The same for `module`, a dotted name, imported here; `module:Class` reaches into a class."""
        return self.replace(_find(module, answers), name, replacement, answers=answers)

    def add_in(self, module: str, name: str, value: Any, *, answers: str) -> None:
        """Sets a name that `module` takes from a package that is not installed."""
        owner = _find(module, answers)
        if hasattr(owner, name):
            self.replace(owner, name, value, answers=answers)
        else:
            setattr(owner, name, value)
            self.callback(delattr, owner, name)

    def wrap_in(self, module: str, name: str, wrapper: Callable[[Callable], Callable], *, answers: str) -> None:
        """Replaces a function by `wrapper(function)`."""
        owner = _find(module, answers)
        if not hasattr(owner, name):
            raise _missing(owner, name, answers)
        self.replace(owner, name, wrapper(getattr(owner, name)), answers=answers)


def _find(module: str, answers: str) -> Any:
    path, _, attributes = module.partition(":")
    try:
        owner: Any = importlib.import_module(path)
    except ImportError as error:
        raise _does_not_fit(f"cannot import {path} of {_version(path)}, {error}", answers) from error
    for name in filter(None, attributes.split(".")):
        if not hasattr(owner, name):
            raise _missing(owner, name, answers)
        owner = getattr(owner, name)
    return owner


def _missing(owner: Any, name: str, answers: str) -> GlideError:
    path = ".".join(part for part in (getattr(owner, "__module__", ""), owner.__name__) if part)
    return _does_not_fit(f"{path} has no '{name}' in {_version(path)}", answers)


def _does_not_fit(what: str, answers: str) -> GlideError:
    return GlideError(
        f"the CPU backend does not fit, {what} (patched for: {answers}): "
        "install the pinned requirements, or adapt glide_nemo/cpu"
    )


def _version(path: str) -> str:
    """The installed distribution that a module belongs to."""
    for prefix, distribution in DISTRIBUTIONS.items():
        if path == prefix or path.startswith(f"{prefix}."):
            return f"{distribution} {importlib.metadata.version(distribution)}"
    return "an unknown version"
