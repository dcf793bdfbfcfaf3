"""The numbers behind the report's charts."""

from __future__ import annotations

import itertools
import math

import pytest

from glide_nemo.release.charts import Chart, Line, arcs, human, smoothed, tick_label, ticks


def chart(points: list[tuple[float, float]]) -> Chart:
    return Chart("t", "d", "x", "y", [Line(points, "series-0")])


def test_ticks_are_round_and_enclose_the_data() -> None:
    for low, high in [(0.0, 1_024_000.0), (1.37, 8.31), (0.0, 3e-3), (2.0, 2.0)]:
        marks = ticks(low, high, 5)
        assert marks[0] <= low and marks[-1] >= high
        assert len(marks) <= 8
        steps = {round(b - a, 12) for a, b in itertools.pairwise(marks)}
        assert len(steps) == 1


@pytest.mark.parametrize(
    ("axis", "labels"),
    [
        ([0.0, 500_000.0, 1_000_000.0], ["0", "0.5 M", "1.0 M"]),
        ([0.0, 2_500.0, 5_000.0, 7_500.0, 10_000.0], ["0", "2.5 k", "5.0 k", "7.5 k", "10.0 k"]),
        ([0.0, 0.001, 0.002], ["0", "0.001", "0.002"]),
        ([0.0, 0.25, 0.5], ["0", "0.25", "0.50"]),
        ([2.0, 4.0, 6.0], ["2", "4", "6"]),
        ([0.0, 1e-4, 2e-4], ["0", "1.0e-4", "2.0e-4"]),
    ],
)
def test_tick_labels_share_one_unit_and_one_number_of_decimals(axis: list[float], labels: list[str]) -> None:
    assert [tick_label(tick, axis) for tick in axis] == labels


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (4_196_608, "", "4.20 M"),
        (3_180_000_000, "", "3.18 B"),
        (3_180_000_000, "B", "3.18 GB"),
        (476, "", "476"),
        (22_140, "B", "22.1 kB"),
        (0, "", "0"),
        (None, "", "–"),
        (1.4509, "", "1.45"),
        (3e-6, "", "3.00e-6"),
        (math.nan, "", "nan"),
    ],
)
def test_numbers_read_as_people_write_them(value: float | None, unit: str, text: str) -> None:
    assert human(value, unit) == text


def test_a_line_goes_from_corner_to_corner_and_breaks_where_a_value_is_not_finite() -> None:
    drawn = chart([(0.0, 0.0), (50.0, math.nan), (100.0, 10.0)])
    assert drawn.path(drawn.lines[0]) == "M0 100M100 0"
    assert drawn.left(50.0) == 50.0 and drawn.top(5.0) == 50.0


def test_a_chart_without_points_still_has_axes() -> None:
    empty = chart([])
    assert len(empty.x_ticks) >= 2 and len(empty.y_ticks) >= 2


def test_smoothing_keeps_a_constant_and_follows_a_step_without_the_bias_of_its_start() -> None:
    assert smoothed([(0, 5.0), (1, 5.0)]) == [(0, pytest.approx(5.0)), (1, pytest.approx(5.0))]
    step = [y for _, y in smoothed([(x, float(x > 9)) for x in range(40)])]
    assert step[9] == 0 and 0 < step[12] < step[39] < 1


def test_every_input_has_an_arc_and_longer_ones_go_further_out() -> None:
    paths, width = arcs([[], [0], [0, 1]], row=64, step=9)
    assert len(paths) == 3
    assert width == 10 + 2 * 9 + 6
    assert all(path.endswith(f"H{width}") for path in paths)
