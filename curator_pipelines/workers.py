"""What the worker processes of a curation import: named, so that it can be done ahead of time."""

from __future__ import annotations

import pkgutil

import curator_pipelines.stages


def modules() -> list[str]:
    """Every stage, and with them NeMo-Curator, which takes seconds to import."""
    folder = curator_pipelines.stages
    names = [module.name for module in pkgutil.iter_modules(folder.__path__, f"{folder.__name__}.")]
    return [*names, "curator_pipelines.executors"]
