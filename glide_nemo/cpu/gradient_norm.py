"""The norm of gradients, which torch sums up on a CPU in one fp32 number and so underestimates.

`torch.norm` is 2e-4 too small over a million values, 4e-3 over sixteen million; Megatron takes it of each gradient
buffer where Apex is missing, so that clipping and the logged norm depend on how buffers are cut over processes.
"""

from __future__ import annotations

from typing import Any

import torch

from glide_nemo.cpu.seams import Seams

CHUNK = 4_096  # values that fp32 sums up without loss, and enough to keep the kernel as fast as `torch.norm`


def apply(seams: Seams) -> None:
    """Sums squares in chunks, and the chunks in fp64."""
    seams.replace_in(
        "megatron.core.optimizer.clip_grads",
        "l2_norm_impl",
        _norm_of_all,
        answers="torch.norm(tensor), core/utils.py:1330",
    )


def norm(tensors: list[torch.Tensor]) -> float:
    """The Euclidean norm of all values together."""
    return sum(float(_squares(tensor.detach().reshape(-1))) for tensor in tensors) ** 0.5


def _squares(values: torch.Tensor) -> torch.Tensor:
    whole = values.numel() // CHUNK * CHUNK
    norms = torch.linalg.vector_norm(values[:whole].view(-1, CHUNK), dim=1)
    return norms.double().square().sum() + values[whole:].double().square().sum()


def _norm_of_all(chunk_size: int, noop_flag: Any, tensor_lists: list[list[torch.Tensor]], *args: Any) -> tuple:
    return torch.tensor([norm(tensor_lists[0])], dtype=torch.float), None
