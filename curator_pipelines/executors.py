"""How a pipeline runs: processes on this machine (LocalExecutor), or Ray Data on a cluster (ray_cluster.py)."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import batched

import cloudpickle
from loguru import logger
from nemo_curator.backends.base import BaseExecutor, BaseStageAdapter
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import EmptyTask, Task

from glide_nemo.errors import GlideError

AHEAD = 4  # tasks handed to the pool for each worker, so that none waits and few lie in memory


class LocalExecutor(BaseExecutor):
    """Runs each initial task through all stages in one of `workers` processes; with one worker, in this process.

    Curator's own executors all start Ray. Stages are set up once a process. Results come in the order of the tasks.
    """

    def __init__(self, workers: int = 0) -> None:
        super().__init__()
        self.workers = workers or os.cpu_count() or 1

    def execute(self, stages: list[ProcessingStage], initial_tasks: list[Task] | None = None) -> list[Task]:
        tasks = initial_tasks or [EmptyTask()]
        if self.workers == 1 or len(tasks) == 1:
            chain = Chain(stages)
            return [result for task in tasks for result in chain(task)]
        context = multiprocessing.get_context("forkserver")  # warmed up by workers.py, where time matters
        try:
            with ProcessPoolExecutor(self.workers, context, _start_worker, (cloudpickle.dumps(stages),)) as pool:
                chunks = batched(tasks, self.workers * AHEAD)
                return [result for chunk in chunks for results in pool.map(_run, chunk) for result in results]
        except BrokenProcessPool as error:
            raise GlideError(
                "a curation process died, most likely out of memory: run the same command again, it goes on; "
                "workers=1 or a smaller partition_bytes needs less"
            ) from error


class Chain:
    """All stages of a pipeline, set up in this process."""

    def __init__(self, stages: Sequence[ProcessingStage]) -> None:
        logger.disable("nemo_curator")
        self._adapters = [BaseStageAdapter(stage) for stage in stages]
        for adapter in self._adapters:
            adapter.setup_on_node()
            adapter.setup()

    def __call__(self, task: Task) -> list[Task]:
        tasks = [task]
        for adapter in self._adapters:
            size = adapter.stage.batch_size or len(tasks) or 1
            tasks = [result for group in batched(tasks, size) for result in adapter.process_batch(list(group))]
        return tasks


_chain: Chain | None = None  # of a worker process


def _start_worker(stages: bytes) -> None:
    """`stages` come by cloudpickle, as they do in Ray: some of Curator's filters hold local functions."""
    global _chain
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _chain = Chain(cloudpickle.loads(stages))


def _run(task: Task) -> list[Task]:
    assert _chain is not None
    return _chain(task)


def _end_with_parent() -> None:
    """A pool's workers outlive a parent that is killed, waiting for work for ever: this ends them."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def make_executor(name: str, workers: int) -> BaseExecutor:
    """`local` or `ray`, which needs a running cluster: see ray_cluster.py."""
    if name == "local":
        return LocalExecutor(workers)
    from curator_pipelines.ray_cluster import join_ray

    join_ray()  # before the executor does, which takes what runs
    from curator_pipelines.ray_executor import RayExecutor

    return RayExecutor()
