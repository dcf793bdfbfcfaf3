"""One training in several processes: joined into one group, whoever started them, and started on this machine."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from glide_nemo.errors import GlideError
from glide_nemo.training.worker import Event, passing_on_sigterm, run_with_megatron

_calls = itertools.count()  # of `first_alone`, which every process calls as often


@contextmanager
def joined() -> Iterator[None]:
    """The processes that a launcher started (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT) as one group, then apart.

    Megatron-Bridge would join them later than the first file that one of them changes and the others read.
    """
    import torch
    import torch.distributed as dist

    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group(backend="nccl")
    try:
        yield
    finally:
        dist.destroy_process_group()


def first_alone(function: Callable[[], Any]) -> Any:
    """`function()` as the first process runs it, while the others wait; its result in all of them."""
    import torch.distributed as dist

    if not dist.is_initialized():
        return function()
    # Through the store by which the processes met, that waits as long as it takes.
    store, key = dist.distributed_c10d._get_default_store(), f"glide/first_alone/{next(_calls)}"
    if dist.get_rank() == 0:
        try:
            answer = (function(), None)
        except Exception as error:  # the others must not wait for what will not come
            answer = (None, error)
        store.set(key, pickle.dumps(answer))
    else:
        store.wait([key], timedelta(hours=1))
        answer = pickle.loads(store.get(key))
    result, error = answer
    if error is not None:
        raise error
    return result


def is_last() -> bool:
    """Whether this process knows the loss: it is in the last stage of a pipeline."""
    import torch.distributed as dist

    return not dist.is_initialized() or dist.get_rank() == dist.get_world_size() - 1


def run_processes(
    number: int,
    function: Callable[..., Any],
    *args: Any,
    log: Path | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> list[Any]:
    """`function(*args, report)` in so many processes of one group on this machine, as `run_with_megatron` runs one.

    Each finds its rank in the environment, as torchrun would set it. Events are those of the last, which knows the
    loss. Returns the result of each; raises the error of the first one that failed.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with passing_on_sigterm(multiprocessing.active_children) as passed_on, ThreadPoolExecutor(number) as threads:
        runs = [
            threads.submit(
                run_with_megatron,
                _as_rank,
                {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": number, "LOCAL_WORLD_SIZE": number},
                port,
                function,
                args,
                log=log,
                on_event=on_event if rank == number - 1 else lambda event: None,
            )
            for rank in range(number)
        ]
        try:
            for run in as_completed(runs):
                run.result()  # one that fails closes its connections, which the others then fail by
        except GlideError:
            if passed_on:
                raise KeyboardInterrupt from None
            raise
        return [run.result() for run in runs]


def _as_rank(
    rank: dict[str, int], port: int, function: Callable[..., Any], args: tuple[Any, ...], report: Callable
) -> Any:
    import torch

    os.environ.update({name: str(value) for name, value in rank.items()})
    os.environ.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)})
    torch.set_num_threads(max((os.cpu_count() or 1) // rank["WORLD_SIZE"], 1))
    return function(*args, report)
