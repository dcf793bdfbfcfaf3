"""Megatron keeps one CUDA random state a parallel region; on a CPU they are states of the one CPU generator.

`CudaRNGStatesTracker.fork()` (core/tensor_parallel/random.py) swaps the state in and out around dropout and weight
initialisation, so dropout differs between tensor-parallel ranks and agrees within one.
"""

from __future__ import annotations

import logging
from typing import Any

import torch

from glide_nemo.cpu.seams import Seams


def apply(seams: Seams) -> None:
    """Points Megatron's and torch.cuda's random states at the CPU generator."""
    module = "megatron.core.tensor_parallel.random"
    tracker = "CudaRNGStatesTracker.fork, core/tensor_parallel/random.py"
    seams.replace_in(module, "_get_cuda_rng_state", _get_state, answers=tracker)
    seams.replace_in(module, "_set_cuda_rng_state", _set_state, answers=tracker)
    for owner in (torch.cuda, torch.cuda.random):
        seams.replace(owner, "get_rng_state", _get_state, answers="get_rng_state, bridge/training/checkpointing.py")
        seams.replace(owner, "set_rng_state", _set_state, answers="load_checkpoint, bridge/training/checkpointing.py")
        for name in ("manual_seed", "manual_seed_all"):
            seams.replace(owner, name, _seed, answers="model_parallel_cuda_manual_seed, core/tensor_parallel/random.py")
    warns = logging.getLogger(module)
    warns.addFilter(_is_no_surprise)
    seams.callback(warns.removeFilter, _is_no_surprise)


def _is_no_surprise(record: logging.LogRecord) -> bool:
    """Drops the tracker's warning that a region drew from the CPU's generator: here it is the region's own."""
    return "CPU RNG state changed" not in record.getMessage()


def _get_state(device: Any = None, clone: bool = False, graph_safe: bool = False) -> torch.Tensor:
    return torch.get_rng_state()


def _set_state(new_state: torch.Tensor, device: Any = -1, graph_safe: bool = False) -> None:
    torch.set_rng_state(new_state)


def _seed(seed: int) -> None:
    torch.default_generator.manual_seed(seed)
