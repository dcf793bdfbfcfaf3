"""Makes the C library hand out zeroed memory: fastText trains on some that it never writes to."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

PERTURB = -6  # glibc's mallopt(3), M_PERTURB: what is handed out is filled with the complement of a byte
ZEROES = 0xFF
AS_IT_COMES = 0


@contextlib.contextmanager
def zeroed_memory() -> Iterator[None]:
    """Within it, new memory is zero. Nothing happens where the C library is not glibc.

    With one thread, fastText 0.9.3 draws the first tenth of its input matrix and leaves the rest as malloc gave it
    (its issues 935 and 1061): pages fresh from the kernel are zero, but a small matrix, or one in a process that has
    freed memory, is made of what lay there before. Training then ends in "Encountered NaN", or in another model.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        yield
        return
    library.mallopt(PERTURB, ZEROES)
    try:
        yield
    finally:
        library.mallopt(PERTURB, AS_IT_COMES)
