"""What this machine can train on: its GPUs through NVML, its cores and its memory. Imports no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Machine:
    """Devices and memory, in GB (1e9 bytes)."""

    gpus: tuple[tuple[str, float], ...]  # name and memory of each
    cores: int
    memory_gb: float

    def __str__(self) -> str:
        gpus = f"{len(self.gpus)} x {self.gpus[0][0]} ({self.gpus[0][1]:.0f} GB)" if self.gpus else "no GPU"
        return f"{gpus}, {self.cores} CPU cores, {self.memory_gb:.0f} GB of memory"


def this_machine() -> Machine:
    """What is here now."""
    cores = len(os.sched_getaffinity(0))
    return Machine(gpus=_gpus(), cores=cores, memory_gb=psutil.virtual_memory().total / 1e9)


def _gpus() -> tuple[tuple[str, float], ...]:
    try:
        import pynvml
    except ImportError:
        return ()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver
        return ()
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return tuple((pynvml.nvmlDeviceGetName(h), pynvml.nvmlDeviceGetMemoryInfo(h).total / 1e9) for h in handles)
    finally:
        pynvml.nvmlShutdown()
