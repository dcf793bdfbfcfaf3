"""How values spread: counts in bins of equal width, or of doubling width, and quantiles. Pure functions of counts."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

Counted = Sequence[tuple[float, int]]  # each value and how often it occurs, smallest first
QUANTILES = (5, 25, 50, 75, 95)  # percent
STEP = 0.05  # width of a bin of a score


def by_octave(counted: Counted) -> dict[str, Any]:
    """Bins that double, from a power of two to the next; what is below 1 falls into the first. {} of no values."""
    return _spread(counted, lambda value: math.floor(math.log2(max(1.0, value))), lambda number: 2.0**number)


def by_step(counted: Counted) -> dict[str, Any]:
    """Bins of 0.05, the last with its upper edge where that is 1. {} of no values."""
    steps = round(1 / STEP)

    def number_of(value: float) -> int:
        number = math.floor(round(value * steps, 9))
        return steps - 1 if value == 1 else number

    return _spread(counted, number_of, lambda number: number / steps)


def _spread(counted: Counted, number_of: Callable[[float], int], edge: Callable[[int], float]) -> dict[str, Any]:
    """`edges` (one more than `counts`), `counts`, `documents` and the values at `quantiles` percent."""
    if not counted:
        return {}
    first, last = number_of(counted[0][0]), number_of(counted[-1][0])
    counts = [0] * (last - first + 1)
    for value, count in counted:
        counts[number_of(value) - first] += count
    return {
        "edges": [edge(number) for number in range(first, last + 2)],
        "counts": counts,
        "documents": sum(counts),
        "quantiles": {str(percent): quantile(counted, percent / 100) for percent in QUANTILES},
    }


def quantile(counted: Counted, share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed (Hyndman and Fan 1996, definition 1)."""
    passed = list(accumulate(count for _, count in counted))
    return counted[bisect_left(passed, share * passed[-1])][0]
