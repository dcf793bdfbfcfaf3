"""The limit that memory sets to decoding: each token reads all weights once."""

from __future__ import annotations

import os
import time
from pathlib import Path

BYTES = 1 << 30  # far more than any cache


def read_bandwidth(size: int = BYTES, rounds: int = 5) -> float:
    """Bytes a second that all cores together read from memory: the best of some rounds, as STREAM counts (McCalpin)."""
    import numba
    import numpy

    numba.set_num_threads(min(len(os.sched_getaffinity(0)), numba.config.NUMBA_NUM_THREADS))

    @numba.njit(parallel=True, fastmath=True)
    def total(values: numpy.ndarray) -> float:
        result = 0.0
        for index in numba.prange(values.size):
            result += values[index]
        return result

    values = numpy.ones(size // 8)  # written, so that it has pages of its own
    total(values[:1024])  # compiles
    fastest = min(_seconds(total, values) for _ in range(rounds))
    return size / fastest


def _seconds(function: object, values: object) -> float:
    started = time.perf_counter()
    function(values)
    return time.perf_counter() - started


def bytes_per_token(path: Path) -> int | None:
    """Bytes of weights that llama.cpp reads to decode one token of a .gguf file; None for another kind of file.

    The embedding is read whole where it is the output layer too, and one row of it where there is another.
    """
    import gguf

    if path.suffix != ".gguf":
        return None
    sizes = {tensor.name: int(tensor.n_bytes) for tensor in gguf.GGUFReader(path).tensors}
    return sum(sizes.values()) - (sizes["token_embd.weight"] if "output.weight" in sizes else 0)
