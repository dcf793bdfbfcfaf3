"""How commands read their settings: a recipe with overrides, and a directory that has to be given."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def configured(args: argparse.Namespace, recipes: Mapping[str, Callable[[], Any]], default: str) -> Any:
    """The config of --recipe with the overrides applied; None where --list or --dry-run has said all there is."""
    from glide_nemo.config import apply_overrides, as_plain
    from glide_nemo.errors import GlideError

    if args.list:
        for name, recipe in recipes.items():
            print(f"{name:<16} {(recipe.__doc__ or '').strip().splitlines()[0]}")
        return None
    name = args.recipe or default
    if name not in recipes:
        raise GlideError(f"unknown recipe '{name}': there are {', '.join(recipes)}")
    config = apply_overrides(recipes[name](), args.overrides)
    if args.dry_run:
        print(json.dumps(as_plain(config), indent=1))
        return None
    return config


def given(args: argparse.Namespace, name: str) -> Path:
    """The directory passed as an option that this command cannot do without."""
    from glide_nemo.errors import GlideError

    path = getattr(args, name)
    if path is None:
        raise GlideError(f"no --{name}: pass the directory to {'write' if name == 'out' else 'read'}")
    return path
