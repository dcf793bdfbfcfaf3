"""Line charts as numbers that the template draws: positions in percent of the plot, and round ticks on both axes.

Text in an SVG that is scaled becomes unreadable on a phone. So nothing here is in pixels: the plot is as wide as the
page allows, its lines stretch with it, and its labels keep the size of the page's text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

Point = tuple[float, float]
SCALES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k"))  # as people count parameters and tokens
REACH = 74  # pixels that an arc of the provenance goes out at most
SMOOTHING = 0.8  # of the exponential moving average that a noisy curve is drawn with


@dataclass(frozen=True)
class Line:
    """One curve. `style` is a class of report.css: it says the colour, and `faint` for what is drawn behind."""

    points: Sequence[Point]
    style: str


@dataclass(frozen=True)
class Mark:
    """A single point with a label, or, without `y`, a border between two parts of the horizontal axis."""

    x: float
    label: str
    y: float | None = None
    style: str = ""


@dataclass
class Chart:
    """A line chart. `title` and `description` are read out to those who do not see it."""

    title: str
    description: str
    x_label: str
    y_label: str
    lines: list[Line]
    marks: list[Mark] = field(default_factory=list)
    from_zero: bool = False  # whether the vertical axis must start at 0

    def __post_init__(self) -> None:
        points = [point for line in self.lines for point in line.points]
        points += [(mark.x, mark.y) for mark in self.marks if mark.y is not None]
        xs, ys = [x for x, _ in points], [y for _, y in points if math.isfinite(y)]
        self.x_ticks = ticks(0.0, max(xs, default=1.0), 4)
        self.y_ticks = ticks(0.0 if self.from_zero else min(ys, default=0.0), max(ys, default=1.0), 5)
        self.x_range = (0.0, max(xs, default=1.0) or 1.0)
        self.x_ticks = [tick for tick in self.x_ticks if tick <= self.x_range[1] * 1.0001]
        self.y_range = (self.y_ticks[0], self.y_ticks[-1])

    def x_text(self, tick: float) -> str:
        return tick_label(tick, self.x_ticks)

    def y_text(self, tick: float) -> str:
        return tick_label(tick, self.y_ticks)

    def left(self, x: float) -> float:
        """Position of `x` from the left, in percent."""
        return round(100 * (x - self.x_range[0]) / (self.x_range[1] - self.x_range[0]), 3)

    def top(self, y: float) -> float:
        """Position of `y` from the top, in percent."""
        return round(100 * (self.y_range[1] - y) / (self.y_range[1] - self.y_range[0]), 3)

    def path(self, line: Line) -> str:
        """SVG path data in a box of 100 x 100; a value that is not finite breaks the line."""
        parts, pen = [], "M"
        for x, y in line.points:
            if math.isfinite(y):
                parts.append(f"{pen}{self.left(x):g} {self.top(y):g}")
            pen = "L" if math.isfinite(y) else "M"
        return "".join(parts)


def ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers from at most `low` to at least `high`."""
    from matplotlib.ticker import MaxNLocator

    if not high > low:
        high = low + (abs(low) or 1.0)
    return [float(tick) for tick in MaxNLocator(nbins=count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]


def tick_label(tick: float, axis: Sequence[float]) -> str:
    """A tick in the unit and with the decimals that its whole axis needs: 0, 0.5 M, 1.0 M."""
    largest, step = max(abs(value) for value in axis), axis[1] - axis[0] if len(axis) > 1 else 1.0
    if tick == 0:
        return "0"
    limit, prefix = next(((limit, prefix) for limit, prefix in SCALES if largest >= limit), (1.0, ""))
    scale = 1e3 if prefix == "k" else limit
    if largest < 0.001:
        return f"{tick:.1e}".replace("e-0", "e-")
    decimals = max(0, -math.floor(math.log10(step / scale) + 1e-9))
    if round(step / scale, decimals) != step / scale:  # a step of 0.25 needs one more
        decimals += 1
    return f"{tick / scale:,.{decimals}f} {prefix}".rstrip()


def smoothed(points: Sequence[Point]) -> list[Point]:
    """Exponential moving average with the bias of its start taken out (as in Adam)."""
    average, result = 0.0, []
    for count, (x, y) in enumerate(points, start=1):
        average = SMOOTHING * average + (1 - SMOOTHING) * y
        result.append((x, average / (1 - SMOOTHING**count)))
    return result


def arcs(inputs: Sequence[Sequence[int]], row: int, step: int) -> tuple[list[str], int]:
    """Arcs that join each row of a list to the rows it was made from, and the width they need.

    `inputs[i]` are the rows above that row i was made from; `row` is the height of a row and `step` how much further
    out an arc that spans one row more goes, both in pixels. Returns SVG path data and a width in pixels.
    """
    joined = [(parent, child) for child, parents in enumerate(inputs) for parent in parents]
    reaches = {pair: min(10 + step * (pair[1] - pair[0]), REACH) for pair in joined}
    right = max(reaches.values(), default=0) + 6
    paths = []
    for (parent, child), reach in reaches.items():
        top, bottom = parent * row + row // 2, child * row + row // 2
        bend = min(reach, (bottom - top) // 2)
        paths.append(
            f"M{right} {top}h{bend - reach}a{bend} {bend} 0 0 0 {-bend} {bend}"
            f"V{bottom - bend}a{bend} {bend} 0 0 0 {bend} {bend}H{right}"
        )
    return paths, right


def human(value: float | None, unit: str = "", digits: int = 3) -> str:
    """A number as people write it: 4,194 stays whole, 4,194,304 is 4.19 M."""
    if value is None:
        return "–"
    for limit, prefix in SCALES:
        if abs(value) >= limit:
            prefix = "G" if (prefix, unit) == ("B", "B") else prefix
            return f"{significant(value / (1e3 if prefix == 'k' else limit), digits)} {prefix}{unit}"
    number = f"{value:,.0f}" if float(value).is_integer() else significant(value, digits)
    return f"{number} {unit}".rstrip()


def significant(value: float, digits: int = 3) -> str:
    """`digits` significant digits, without an exponent between 0.001 and 10 million."""
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return str(value)
    exponent = math.floor(math.log10(abs(value)))
    if exponent < -3 or exponent > 6:
        return f"{value:.{digits - 1}e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:,.{max(0, digits - 1 - exponent)}f}"
