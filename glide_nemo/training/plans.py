"""Recipes resolved to plans, kept in the user's cache: resolving one imports Megatron, which takes 20 seconds."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path

import glide_nemo
from glide_nemo import plugins
from glide_nemo.console import console
from glide_nemo.planning.machine import this_machine
from glide_nemo.planning.plan import TrainingPlan
from glide_nemo.recipes.recipe import split_name
from glide_nemo.training import loop
from glide_nemo.training.worker import run_with_megatron

RESOLVED_BY = ("torch", "megatron-core", "megatron-bridge", "transformer-engine")


def resolve(name: str, overrides: tuple[str, ...]) -> TrainingPlan:
    """The plan of a recipe with overrides. GlideError for an unknown recipe or key, or a value that does not fit.

    Only GLiDE's own recipes and sizes are kept: of another package's one cannot know what they depend on.
    """
    phase, size = split_name(name)
    points = plugins.available("recipes")[phase], plugins.available("architectures")[size]
    if not all(point.value.startswith("glide_nemo.") for point in points):
        return _resolve(name, overrides, "")
    import joblib
    import platformdirs

    try:
        memory = joblib.Memory(platformdirs.user_cache_path("glide"), verbose=0)
        return memory.cache(_resolve)(name, overrides, _fingerprint())
    except OSError:  # a home that cannot be written, or a full disk: the cache is not worth an error
        return _resolve(name, overrides, "")


def _resolve(name: str, overrides: tuple[str, ...], fingerprint: str) -> TrainingPlan:
    console.print(f"[dim]resolving {name}: Megatron is imported, about 20 seconds, the first time only[/dim]")
    return run_with_megatron(loop.plan, name, overrides)


def _fingerprint() -> str:
    """Of all that a plan follows from: GLiDE's code, the libraries' versions, and the GPUs."""
    root = Path(glide_nemo.__file__).parent
    parts = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(root.rglob("*.py"))]
    for distribution in RESOLVED_BY:
        try:
            parts.append(importlib.metadata.version(distribution))
        except importlib.metadata.PackageNotFoundError:
            parts.append("")
    return hashlib.sha256("\n".join([*parts, str(this_machine().gpus)]).encode()).hexdigest()
