"""Cuts rows into parts that stay in a core's cache while several operations go over them."""

from __future__ import annotations

import torch

CACHED = 256 * 1024  # values, 1 MB of fp32


def in_parts(values: torch.Tensor, width: int | None = None) -> tuple[torch.Tensor, ...]:
    """Rows of a contiguous tensor, as many at a time as fit where the widest tensor that goes along has `width`."""
    rows = max(1, CACHED // (width or values.size(-1)))
    return values.view(-1, values.size(-1)).split(rows)
