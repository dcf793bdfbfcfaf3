"""Keeps freed memory in the process: the C library gives large blocks back, and each step pays for fresh pages."""

from __future__ import annotations

import ctypes

from glide_nemo.cpu.seams import Seams

# Parameters of glibc's mallopt(3), what keeps memory, and glibc's own values.
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX, ARENA_MAX = -1, -2, -4, -8
KEPT = {
    MMAP_MAX: 0,  # no block is mapped on its own, and so given back when it is freed
    TRIM_THRESHOLD: -1,  # the heap does not shrink
    TOP_PAD: 256 * 1024**2,  # and grows by enough for aligned blocks, which do not fit where an equal one was freed
    ARENA_MAX: 1,  # one heap for all threads: torch's backward thread would have its own, which shrinks all the same
}
USUAL = {MMAP_MAX: 65_536, TRIM_THRESHOLD: 128 * 1024, TOP_PAD: 128 * 1024, ARENA_MAX: 0}


def apply(seams: Seams) -> None:
    """Makes blocks of any size come from the heap, and the heap stay. Nothing happens where the C library is another.

    Answers no line of Megatron, which has CUDA's caching allocator: on a CPU torch has none.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in KEPT.items():
        mallopt(parameter, value)
        seams.callback(mallopt, parameter, USUAL[parameter])
