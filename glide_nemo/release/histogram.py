"""How the documents of a corpus spread, as columns that the template draws: all in percent of the plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from glide_nemo.release.charts import human

LABELS = 6  # on the horizontal axis, about


@dataclass(frozen=True)
class Histogram:
    """Columns of equal width. `title` and `description` are read out to those who do not see them."""

    title: str
    description: str
    note: str
    columns: Sequence[tuple[float, float, float]]  # left, width, height
    ticks: Sequence[tuple[float, str]]  # left, label


def histograms(facts: dict[str, Any] | None) -> list[Histogram]:
    """One for each distribution that a data card states of a corpus; none where there is no card."""
    spreads = facts["distributions"] if facts else {}
    return [_drawn(name.replace("_", " "), spread) for name, spread in spreads.items()]


def _drawn(name: str, spread: dict[str, Any]) -> Histogram:
    counts, edges, quantiles = spread["counts"], spread["edges"], spread["quantiles"]
    width, most = 100 / len(counts), max(counts)
    stride = -(-len(edges) // LABELS)
    low, median, high = (human(quantiles[percent]) for percent in ("5", "50", "95"))
    return Histogram(
        title=f"Document {'length' if name == 'bytes' else name}",
        description=f"Of {spread['documents']:,} documents nine tenths lie from {low} to {high}, "
        f"the median is {median}.",
        note=f"{'bytes, ' if name == 'bytes' else ''}median {median}, 5 to 95 %: {low} to {high}",
        columns=[
            (round(number * width, 3), round(width * 0.92, 3), round(100 * count / most, 3))
            for number, count in enumerate(counts)
        ],
        ticks=[(round(number * width, 3), human(edges[number])) for number in range(0, len(edges), stride)],
    )
