"""Holds what a benchmark measured against floors.yaml and prints it: a table for people, JSON for machines."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

FLOORS = Path(__file__).parent / "floors.yaml"


def report(name: str, measured: dict[str, float], *, as_json: bool) -> int:
    """Prints what was measured. Exit status 1 where a value is below its floor, or above what it may be at most."""
    floors = yaml.safe_load(FLOORS.read_text(encoding="utf-8"))[name]
    at_most = floors.pop("at_most", {})
    failed = [key for key, floor in floors.items() if measured[key] < floor]
    failed += [key for key, ceiling in at_most.items() if measured[key] > ceiling]
    if as_json:
        stated = {"benchmark": name, **measured, "at_least": floors, "at_most": at_most, "failed": failed}
        print(json.dumps(stated))
    else:
        bounds = {key: f"≥ {floor}" for key, floor in floors.items()}
        bounds |= {key: f"≤ {ceiling}" for key, ceiling in at_most.items()}
        table = Table("measure", "value", "bound", title=name)
        for key, value in measured.items():
            table.add_row(key, f"{value:,.3g}" if value < 100 else f"{value:,.0f}", bounds.get(key, ""))
        Console().print(table)
    return 1 if failed else 0


def main(
    name: str, summary: str | None, measure: Callable[[argparse.Namespace], dict[str, float]], **paths: str
) -> int:
    """The command line that every benchmark has: --json, and a directory for each of `paths` (name -> default)."""
    from glide_nemo.errors import GlideError

    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    for option, default in paths.items():
        parser.add_argument(f"--{option}", type=Path, default=Path(default), help="default: %(default)s")
    args = parser.parse_args()
    try:
        return report(name, measure(args), as_json=args.json)
    except GlideError as error:
        parser.exit(2, f"error: {error}\n")
