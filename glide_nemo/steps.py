"""How every step runs: reuse what is finished, go on with what is not, say where the result lies and what it is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from glide_nemo.artifact import RECORD, Artifact, Draft, create, find, load
from glide_nemo.console import console


def run_step(
    name: str,
    out: str | os.PathLike[str],
    kind: str,
    config: Any,
    inputs: Mapping[str, Artifact],
    write: Callable[[Draft], None],
    *,
    force: bool = False,
) -> Artifact:
    """The artifact that `write` makes in `out` from this config and these inputs, or the equal one already there.

    `write(draft)` puts its files into `draft.path`, and states `draft.metrics` and `draft.summary`. Where it was
    killed, it is called again on the same directory and goes on with what it finds.

    Raises GlideError where `out` holds an artifact made otherwise, unless `force`.
    """
    out = Path(out)
    if reused := find(out, kind, config, inputs):
        console.print(f"[dim]{name}: reused {out}, {reused.summary}[/dim]")
        return reused
    if force and (out / RECORD).exists():
        console.print(f"{name}: settings or inputs have changed, done again")
    started = time.monotonic()
    with create(out, kind, config, inputs, force=force) as draft:
        console.print(f"[bold]{name}[/bold]")
        write(draft)
    artifact = load(out, kind)
    console.print(f"  {artifact.summary} ({time.monotonic() - started:.0f} s) -> {out}")
    return artifact
