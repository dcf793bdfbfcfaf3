"""Does the time of something grow in proportion to its input? Told apart from what else the machine does meanwhile."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

EXPONENT = 1.6  # 1 is linear, 2 quadratic
TURNS = 10


def assert_linear(run: Callable[[Any], object], small: Any, large: Any, times: int = 4) -> None:
    """`run(large)`, of `times` the input of `run(small)`, takes less than times ** EXPONENT as long.

    CPU seconds of this process, the least of up to TURNS turns of both. Without garbage collection: one that happens
    to fall into a turn walks every object that the tests before it have left, which can take half a second.
    """
    seconds = {"small": [1.0], "large": [1e9]}
    for _ in range(TURNS):
        for name, given in (("small", small), ("large", large)):
            seconds[name].append(cpu_seconds(run, given))
        # Below a millisecond the clock says little.
        if min(seconds["large"]) < times**EXPONENT * max(min(seconds["small"]), 1e-3):
            return
    raise AssertionError(f"{times} times the input took {min(seconds['large']):.4f} s, not {min(seconds['small']):.4f}")


def cpu_seconds(run: Callable[[Any], object], given: Any) -> float:
    """Of this process, and without garbage collection."""
    gc.collect()
    gc.disable()
    try:
        started = time.process_time()
        run(given)
        return time.process_time() - started
    finally:
        gc.enable()
