"""Held-out loss by position in the context: what a longer context is good for, and where a model stops using it.

Documents are cut into stretches of `tokens` tokens, each read after BOS, so that position p has exactly p tokens before
it. Two models compare where they were evaluated at the same `tokens`, which may lie beyond the context of one.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glide_nemo.console import console, progress
from glide_nemo.errors import GlideError

if TYPE_CHECKING:
    from glide_nemo.evaluation.subject import Subject


@dataclass
class LossByPositionConfig:
    tokens: int = 0  # of a stretch; 0: the model's context
    max_stretches: int = 64
    buckets: int = 16  # that positions are averaged in, each as wide as the next
    max_bytes: int = 2_000_000  # of held-out text to look for long documents in


def loss_by_position(subject: Subject) -> dict[str, Any]:
    """The evaluator: nats a token in each bucket of positions, with the standard error over stretches.

    Skipped, which it says, where no held-out document is as long as one stretch.
    """
    import torch
    import torch.nn.functional as F

    config: LossByPositionConfig = subject.config.loss_by_position
    length = config.tokens or subject.context
    if not 0 < config.buckets <= length or config.max_stretches < 1:
        raise GlideError(f"loss_by_position has {config.buckets} buckets for {length} positions: choose fewer")
    documents = subject.heldout(config.max_bytes)
    stretches = [
        ids[start : start + length]
        for ids in subject.encode([document.text for document in documents])
        for start in range(0, len(ids) - length + 1, length)
    ][: config.max_stretches]
    if not stretches:
        reason = f"no held-out document has {length} tokens"
        console.print(f"  loss by position: skipped, {reason}")
        return {"skipped": {"loss_by_position": reason}}
    losses = []  # a row of `length` nats for each stretch
    with torch.inference_mode(), progress("loss by position", len(stretches), "stretches") as advance:
        for ids in stretches:
            tokens_1S = torch.tensor([[subject.first_token, *ids[:-1]]], device=subject.network.device)
            logits_SV = subject.network(input_ids=tokens_1S, use_cache=False).logits[0].float()
            targets_S = torch.tensor(ids, device=logits_SV.device)
            losses.append(F.cross_entropy(logits_SV, targets_S, reduction="none").double().cpu())
            advance(1)
    edges = [length * bucket // config.buckets for bucket in range(config.buckets + 1)]
    buckets = [
        _bucket(torch.stack([row[start:end].mean() for row in losses]).tolist(), start, end)
        for start, end in itertools.pairwise(edges)
    ]
    stated = {"tokens": length, "stretches": len(stretches), "context": subject.context, "buckets": buckets}
    return {"loss_by_position": stated}


def _bucket(means: list[float], start: int, end: int) -> dict[str, float]:
    """Positions `start` to `end` (exclusive): tokens before the one that is predicted."""
    mean = math.fsum(means) / len(means)
    variance = math.fsum((value - mean) ** 2 for value in means) / max(1, len(means) - 1)
    return {"start": start, "end": end, "nats": mean, "stderr": math.sqrt(variance / len(means))}
