"""A pipeline on Ray: Curator's RayDataExecutor, given all stages as one, so that a partition stays with one worker."""

from __future__ import annotations

from dataclasses import dataclass, field

import ray
from nemo_curator.backends.ray_data import RayDataExecutor
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import EmptyTask, Task

from curator_pipelines.executors import Chain


@dataclass
class AllStages(ProcessingStage[Task, Task]):
    """The stages of a pipeline one after the other, in each of `workers` Ray actors of one CPU.

    By themselves, the stages that hold models would each keep a CPU for the whole run: more stages than CPUs never
    end. Documents would also go through Ray's object store between any two of them.
    """

    stages: list[ProcessingStage] = field(default_factory=list)
    workers: int = 1
    name: str = "all_stages"

    def num_workers(self) -> int:
        return self.workers

    def setup(self, worker_metadata: object = None) -> None:
        self._chain = Chain(self.stages)

    def process(self, task: Task) -> list[Task]:
        return self._chain(task)


class RayExecutor(RayDataExecutor):
    """As many workers as the cluster has CPUs, and no more than there are tasks. Ray must be connected."""

    def execute(self, stages: list[ProcessingStage], initial_tasks: list[Task] | None = None) -> list[Task]:
        tasks = initial_tasks or [EmptyTask()]
        cpus = int(ray.cluster_resources().get("CPU", 1))
        whole = AllStages(stages=list(stages), workers=max(1, min(cpus, len(tasks))))
        results = super().execute([whole], tasks)
        for result in results:  # its time is that of the stages in it
            result._stage_perf = [stats for stats in result._stage_perf if stats.stage_name != whole.name]
        return results
