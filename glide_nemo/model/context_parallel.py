"""Causal attention over a sequence that is split over the ranks of a context-parallel group.

Megatron cuts a sequence into 2 * ranks chunks and gives rank r the chunks r and 2 * ranks - 1 - r, so that each has as
much to attend to (core/utils.py, get_batch_on_this_cp_rank). Here every rank gathers the keys and values of all, which
are small beside the queries where query groups are shared, and attends with its own two chunks of queries.

Shape suffixes: S = whole sequence, C = chunk, L = local sequence (2 C), B = batch, N = attention heads, G = query
groups, H = head dimension, K = keys that a chunk attends to.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from megatron.core.tensor_parallel.mappings import gather_from_sequence_parallel_region


def gather_sequence(local_LBGH: torch.Tensor, group: torch.distributed.ProcessGroup) -> torch.Tensor:
    """The whole sequence in its order, of shape (S, B, G, H); gradients are summed over the ranks that used it."""
    ranks = group.size()
    # Rank r's two chunks are r and 2 * ranks - 1 - r; what is gathered has them rank by rank.
    chunks = gather_from_sequence_parallel_region(local_LBGH, tensor_parallel_output_grad=True, group=group).chunk(
        2 * ranks
    )
    return torch.cat(
        [chunks[2 * rank] for rank in range(ranks)] + [chunks[2 * rank + 1] for rank in reversed(range(ranks))]
    )


def context_parallel_attention(
    query_BNLH: torch.Tensor,
    key_LBGH: torch.Tensor,
    value_LBGH: torch.Tensor,
    group: torch.distributed.ProcessGroup,
    *,
    dropout_p: float = 0.0,
    scale: float | None = None,
) -> torch.Tensor:
    """The context of this rank's part of the sequence, of shape (B, N, L, H)."""
    key_BGSH, value_BGSH = (gather_sequence(part, group).permute(1, 2, 0, 3) for part in (key_LBGH, value_LBGH))
    ranks, rank = group.size(), group.rank()
    length = query_BNLH.size(2) // 2
    contexts = []
    for chunk, query_BNCH in zip((rank, 2 * ranks - 1 - rank), query_BNLH.chunk(2, dim=2), strict=True):
        before, until = chunk * length, (chunk + 1) * length
        seen_CK = torch.ones(length, until, dtype=torch.bool, device=query_BNLH.device).tril(diagonal=before)
        contexts.append(
            F.scaled_dot_product_attention(
                query_BNCH,
                key_BGSH[:, :, :until],
                value_BGSH[:, :, :until],
                attn_mask=seen_CK,
                dropout_p=dropout_p,
                scale=scale,
                enable_gqa=query_BNLH.size(1) != key_BGSH.size(1),
            )
        )
    return torch.cat(contexts, dim=2)
