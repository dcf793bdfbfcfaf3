"""torch.cuda as Megatron calls it, answered by a CPU: one device, no streams to wait for, nothing cached.

Megatron asserts `torch.cuda.is_available()` (bridge/training/initialize.py:91) and asks for devices, streams, events
and memory in some two hundred places. On a CPU every kernel has ended when its call returns, so streams and events
have nothing to do; memory is that of the process.
"""

from __future__ import annotations

import contextlib
import time
from types import SimpleNamespace
from typing import Any

import psutil
import torch

from glide_nemo.cpu.seams import Seams

CPU = torch.device("cpu")


class Stream:
    """An ordered queue of kernels; on a CPU it is always empty."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.device = CPU
        self.cuda_stream = 0

    def synchronize(self) -> None: ...

    def wait_stream(self, stream: Stream) -> None: ...

    def wait_event(self, event: Event) -> None: ...

    def record_event(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record()
        return event

    def query(self) -> bool:
        return True

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exception: object) -> None: ...


class Event:
    """A point in a stream; on a CPU the wall clock when it was recorded."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.seconds = 0.0

    def record(self, stream: Stream | None = None) -> None:
        self.seconds = time.perf_counter()

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds from this event to another."""
        return (end.seconds - self.seconds) * 1e3

    def wait(self, stream: Stream | None = None) -> None: ...

    def synchronize(self) -> None: ...

    def query(self) -> bool:
        return True


def apply(seams: Seams) -> None:
    """Puts the answers of a CPU in torch.cuda, and makes `.cuda()` and pinned memory leave tensors where they are."""
    one_stream = Stream()
    answers = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "init": _nothing,
        "_lazy_init": _nothing,
        "device_count": lambda: 1,
        "current_device": torch.get_default_device,  # "meta" where a model is built to be counted, else the CPU
        "set_device": _nothing,
        "device": lambda *args, **kwargs: contextlib.nullcontext(),
        "synchronize": _nothing,
        "get_device_name": lambda *args: "CPU",
        "get_device_capability": lambda *args: (0, 0),
        "get_device_properties": _device_properties,
        "is_current_stream_capturing": lambda: False,
        "Stream": Stream,
        "Event": Event,
        "stream": lambda stream: stream or contextlib.nullcontext(),
        "set_stream": _nothing,
        "current_stream": lambda *args: one_stream,
        "default_stream": lambda *args: one_stream,
        "empty_cache": _nothing,
        "ipc_collect": _nothing,
        "mem_get_info": lambda *args: (psutil.virtual_memory().available, psutil.virtual_memory().total),
        "reset_peak_memory_stats": _nothing,
        "memory_stats": _memory_stats,
        "memory_allocated": _resident_bytes,
        "max_memory_allocated": _resident_bytes,
        "memory_reserved": _resident_bytes,
        "max_memory_reserved": _resident_bytes,
    }
    for name, answer in answers.items():
        seams.replace(torch.cuda, name, answer, answers=f"torch.cuda.{name}, called throughout Megatron")
    for name in ("range_push", "range_pop", "mark"):
        seams.replace(torch.cuda.nvtx, name, _nothing, answers="profiler ranges, core/utils.py nvtx_range_push")
    seams.replace(torch.Tensor, "cuda", _itself, answers="tensor.cuda(non_blocking=True), bridge/training/gpt_step.py")
    seams.replace(torch.Tensor, "pin_memory", _itself, answers="pin_memory() of checkpoint and optimizer buffers")
    seams.replace(torch.nn.Module, "cuda", _itself, answers="model.cuda(device), bridge/models/model_provider.py")


def _nothing(*args: Any, **kwargs: Any) -> None: ...


def _itself(self: Any, *args: Any, **kwargs: Any) -> Any:
    return self


def _resident_bytes(*args: Any) -> int:
    return psutil.Process().memory_info().rss


def _memory_stats(*args: Any) -> dict[str, int]:
    resident = _resident_bytes()
    keys = (
        "allocated_bytes.all.current",
        "allocated_bytes.all.peak",
        "reserved_bytes.all.current",
        "num_alloc_retries",
    )
    return dict.fromkeys(keys, resident) | {"num_alloc_retries": 0, "allocation.all.current": 0}


def _device_properties(*args: Any) -> SimpleNamespace:
    return SimpleNamespace(
        name="CPU", major=0, minor=0, multi_processor_count=torch.get_num_threads(), warp_size=1,
        total_memory=psutil.virtual_memory().total, regs_per_multiprocessor=0,
    )  # fmt: skip
