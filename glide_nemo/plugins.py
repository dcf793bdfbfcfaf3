"""Entry points: what GLiDE can be extended by. Its own parts register the same way, in pyproject.toml."""

from __future__ import annotations

import difflib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from glide_nemo.errors import GlideError

GROUPS = ("architectures", "recipes", "chains", "exporters", "evaluators", "curation", "engines")


@cache  # each look reads the metadata of every installed package
def available(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name, none of them imported."""
    assert group in GROUPS, group
    return {point.name: point for point in entry_points(group=f"glide_nemo.{group}")}


def get(group: str, name: str) -> Any:
    """The object behind a name. GlideError for an unknown one, naming the nearest, and for one that cannot load."""
    points = available(group)
    if name not in points:
        near = difflib.get_close_matches(name, points, n=1, cutoff=0.4)
        advice = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(sorted(points)) or 'none'}"
        raise GlideError(f"unknown {group.rstrip('s')} '{name}': {advice}")
    try:
        return points[name].load()
    except (ImportError, AttributeError) as error:
        package = points[name].dist.name if points[name].dist else points[name].value
        raise GlideError(
            f"cannot load the {group.rstrip('s')} '{name}' of the package {package} ({error}): mend or uninstall it"
        ) from error
