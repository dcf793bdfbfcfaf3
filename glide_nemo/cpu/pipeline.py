"""What the stages of a pipeline send each other, tagged with its direction.

gloo matches messages between two processes in the order in which they are posted. In an interleaved pipeline of two the
next process is the previous one too, and Megatron counts on NCCL to tell its messages apart: on gloo a gradient would
arrive as an activation, of the same shape and without an error.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

from glide_nemo.cpu.seams import Seams

MODULE = "megatron.core.pipeline_parallel.p2p_communication"
ONWARD, BACK = 1, 2  # tags: activations, and gradients


def apply(seams: Seams) -> None:
    """Replaces the two functions that exchange tensors, and the method that exchanges their shapes before."""
    seams.replace_in(MODULE, "_p2p_ops", exchange, answers="isend without a tag, p2p_communication.py:65")
    seams.replace_in(
        MODULE,
        "_batched_p2p_ops",
        lambda **tensors: list(exchange(**tensors).values()),
        answers="batch_isend_irecv, p2p_communication.py:18",
    )
    seams.replace_in(
        f"{MODULE}:P2PCommunicator",
        "_communicate_shapes",
        _exchange_shapes,
        answers="batch_isend_irecv, p2p_communication.py:190",
    )


def exchange(
    *,
    tensor_send_prev: torch.Tensor | None,
    tensor_recv_prev: torch.Tensor | None,
    tensor_send_next: torch.Tensor | None,
    tensor_recv_next: torch.Tensor | None,
    group: dist.ProcessGroup,
    prev_pipeline_rank: int,
    next_pipeline_rank: int,
) -> dict[str, Any]:
    """Starts what is to be sent and received; returns the works by the names that Megatron waits for."""
    works = {}
    if tensor_send_next is not None:
        works["send_next"] = dist.isend(tensor_send_next, next_pipeline_rank, group, ONWARD)
    if tensor_recv_prev is not None:
        works["recv_prev"] = dist.irecv(tensor_recv_prev, prev_pipeline_rank, group, ONWARD)
    if tensor_send_prev is not None:
        works["send_prev"] = dist.isend(tensor_send_prev, prev_pipeline_rank, group, BACK)
    if tensor_recv_next is not None:
        works["recv_next"] = dist.irecv(tensor_recv_next, next_pipeline_rank, group, BACK)
    return works


def _exchange_shapes(
    self: Any,
    tensor_send_next: torch.Tensor | None,
    tensor_send_prev: torch.Tensor | None,
    recv_prev: bool,
    recv_next: bool,
) -> tuple[list[int], list[int]]:
    """Shapes of what will be received from the previous and the next process, each of three dimensions."""
    sent_next, sent_prev = (
        None if tensor is None else torch.tensor(tensor.size()) for tensor in (tensor_send_next, tensor_send_prev)
    )
    from_prev, from_next = torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)
    works = exchange(
        tensor_send_prev=sent_prev,
        tensor_recv_prev=from_prev if recv_prev else None,
        tensor_send_next=sent_next,
        tensor_recv_next=from_next if recv_next else None,
        group=self.pp_group,
        prev_pipeline_rank=self.prev_rank,
        next_pipeline_rank=self.next_rank,
    )
    for work in works.values():
        work.wait()
    return from_prev.tolist(), from_next.tolist()
