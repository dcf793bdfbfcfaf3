"""What the terminal shows: progress with rate and time left, one line for each finished step."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(stderr=True, highlight=False, soft_wrap=True)
PLAIN_INTERVAL = 10.0  # seconds between lines where the output is not a terminal

Advance = Callable[..., None]


@contextlib.contextmanager
def progress(what: str, total: int | None, unit: str = "") -> Iterator[Advance]:
    """Shows work under way; yields `advance(by=1, note="")`.

    On a terminal a bar with done, rate and time left; elsewhere (CI, a log file) a line every few seconds.
    """
    if console.is_terminal:
        with _bar(what, total, unit) as advance:
            yield advance
    else:
        yield _lines(what, total, unit)


@contextlib.contextmanager
def _bar(what: str, total: int | None, unit: str) -> Iterator[Advance]:
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]} {task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(what, total=total, unit=unit, note="", rate="")

        def advance(by: int = 1, note: str = "") -> None:
            speed = bars.tasks[0].speed
            bars.update(task, advance=by, note=note, rate=f"{speed:,.1f}/s" if speed else "")

        yield advance


def _lines(what: str, total: int | None, unit: str) -> Advance:
    started = last = time.monotonic()
    done = 0

    def advance(by: int = 1, note: str = "") -> None:
        nonlocal done, last
        done += by
        now = time.monotonic()
        if now - last >= PLAIN_INTERVAL:
            last = now
            rate = done / (now - started)
            left = f", {(total - done) / rate:.0f} s left" if total and rate else ""
            of = f"/{total}" if total else ""
            console.print(f"  {what}: {done}{of} {unit}, {rate:,.1f}/s{left}{', ' + note if note else ''}")

    return advance
