"""Draws what `glide bench serve` measured: throughput, first token and time between tokens by concurrency."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

COLOURS = {"model": "#3f6b00", "against": "#8a5a00"}
TICKS = "#62676d"  # readable on light and dark


def draw(measured: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Three charts beside each other as one SVG. p50 is drawn in full, p95 dashed, p99 dotted."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    FigureCanvasSVG(figure)
    rate, first, between = figure.subplots(1, 3)
    for name, each in measured.items():
        at = [int(concurrency) for concurrency in each["levels"]]
        levels = list(each["levels"].values())
        colour = COLOURS[name]
        rate.plot(at, [level["tokens_per_second"] for level in levels], "o-", color=colour, label=name)
        for axes, key in ((first, "time_to_first_token"), (between, "inter_token_latency")):
            for rank, style in (("p50", "o-"), ("p95", "o--"), ("p99", "o:")):
                milliseconds = [1e3 * level[key].get(rank, float("nan")) for level in levels]
                label = f"{name}, {rank}" if len(measured) > 1 else rank
                axes.plot(at, milliseconds, style, color=colour, label=label)
    titles = {rate: "tokens a second", first: "time to first token, ms", between: "time between tokens, ms"}
    for axes, title in titles.items():
        axes.set_title(title, color=TICKS)
        axes.set_xscale("log", base=2)
        axes.set_xticks(at, [str(concurrency) for concurrency in at])
        axes.set_xlabel("requests at once", color=TICKS)
        axes.set_ylim(bottom=0)
        axes.tick_params(colors=TICKS, which="both")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in (first, between) if len(measured) == 1 else (rate, first, between):
        axes.legend(frameon=False, fontsize=8, labelcolor=TICKS)
    figure.savefig(path, transparent=True, metadata={"Date": None})
