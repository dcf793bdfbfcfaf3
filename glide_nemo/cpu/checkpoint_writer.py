"""The queue through which Megatron-Core's checkpoint writer gets its threads' results, without a process to serve it.

Megatron spawns a multiprocessing manager for it on the first save: a Python that imports torch again (5 s on two
cores) and outlives a training process that is killed. A save that is not asynchronous writes in threads of one process.
"""

from __future__ import annotations

import queue

from glide_nemo.cpu.seams import Seams


def apply(seams: Seams) -> None:
    """Takes a queue of threads for one of processes."""
    seams.replace_in(
        "megatron.core.dist_checkpointing.strategies.filesystem_async",
        "get_write_results_queue",
        lambda mp_mode="spawn": queue.Queue(),
        answers="ctx.Manager().Queue(), core/dist_checkpointing/strategies/filesystem_async.py:66",
    )
