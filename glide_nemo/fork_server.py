"""The process that workers are forked from, with slow imports done ahead: Megatron takes 20 seconds, Curator five.

Python has one fork server a process (multiprocessing's `forkserver`), and imports into it only what was named before it
started. Curation and training both fork from it, so what it holds is kept here.
"""

from __future__ import annotations

import multiprocessing
import threading
from multiprocessing import forkserver

_imported: list[str] = []
_starting = threading.Lock()  # workers of one group are started by a thread each


def start(*modules: str) -> None:
    """Makes sure that a fork server with `modules` runs, and does not wait for its imports.

    One that runs without them is replaced, unless it still has children: then new ones import for themselves.
    """
    with _starting:
        missing = [module for module in modules if module not in _imported]
        if missing and not multiprocessing.active_children():
            forkserver._forkserver._stop()  # no public way to end it; nothing happens where none runs
            _imported.extend(missing)
            forkserver.set_forkserver_preload(list(_imported))
        forkserver.ensure_running()
