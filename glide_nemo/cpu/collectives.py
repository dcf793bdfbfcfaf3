"""Process groups on gloo, whatever backend Megatron names.

Megatron creates every group with its configured backend or the literal "nccl" (bridge/training/initialize.py:435,
core/parallel_state.py:235), binds it to a device, and passes NCCL options; gloo takes none of these.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch.distributed as dist
from torch.distributed import distributed_c10d

from glide_nemo.cpu.seams import Seams

ONLY_NCCL = ("device_id", "pg_options", "use_local_synchronization")


def apply(seams: Seams) -> None:
    """Wraps the functions that create groups, and the barrier that takes a GPU's number."""
    for name in ("init_process_group", "new_group"):
        for owner in (dist, distributed_c10d):  # one function under two names; each must be put back
            create = getattr(owner, name)
            wrapped = _on_gloo(_alone(create) if name == "init_process_group" else create)
            seams.replace(owner, name, wrapped, answers='backend="nccl", bridge/training/initialize.py:740')
    for owner in (dist, distributed_c10d):
        barrier = _without_devices(owner.barrier)
        seams.replace(owner, "barrier", barrier, answers="barrier(device_ids=[0]), bridge/training/initialize.py:754")
    for name, line in (("dist_all_gather_func", 515), ("dist_reduce_scatter_func", 712)):
        where = "megatron.core.distributed.param_and_grad_buffer"
        seams.wrap_in(where, name, _not_alone, answers=f"{name}, core/distributed/param_and_grad_buffer.py:{line}")


def _on_gloo(create: Callable) -> Callable:
    parameters = inspect.signature(create)
    first = "nccl" if create.__name__ == "init_process_group" else None  # of torch, which sees a GPU here

    @functools.wraps(create)
    def create_on_gloo(*args: Any, **kwargs: Any) -> Any:
        given = parameters.bind(*args, **kwargs).arguments
        # None is the first group's; "fake" is the dry run of a large layout.
        if given.get("backend", first) not in (None, "fake"):
            given["backend"] = "gloo"
        return create(**{name: value for name, value in given.items() if name not in ONLY_NCCL})

    return create_on_gloo


def _alone(create: Callable) -> Callable:
    @functools.wraps(create)
    def create_without_a_port(*args: Any, **kwargs: Any) -> Any:
        # A process alone has no one to meet: MASTER_PORT (29500) would keep a second run off the machine.
        if kwargs.get("world_size") == 1 and kwargs.get("store") is None:
            kwargs["store"] = dist.HashStore()
            kwargs.pop("init_method", None)
        return create(*args, **kwargs)

    return create_without_a_port


def _not_alone(collective: Callable) -> Callable:
    """NCCL sees that a process alone would copy a buffer onto itself; gloo copies it, 4 % of a step at nano size."""

    def collective_of_several(output: Any, given: Any, *args: Any, group: Any = None, **kwargs: Any) -> Any:
        in_place = output.data_ptr() == given.data_ptr() and output.numel() == given.numel()
        if in_place and not kwargs.get("async_op") and dist.get_world_size(group) == 1:
            return None
        return collective(output, given, *args, group=group, **kwargs)

    return collective_of_several


def _without_devices(barrier: Callable) -> Callable:
    def barrier_of_processes(group: Any = None, async_op: bool = False, device_ids: Any = None) -> Any:
        return barrier(group=group, async_op=async_op)

    return barrier_of_processes
