"""How many tokens a tokenizer spends on text: what decides training cost and context length for a language."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import batched
from typing import Any


def measure(processor: Any, texts: Iterable[str]) -> dict[str, float | int]:
    """Tokens per whitespace-separated word, bytes per token, and the share of tokens that spell single bytes.

    `processor` is a SentencePieceProcessor. Newlines, always a byte token of their own, are not counted in that share.
    """
    import numpy

    is_byte = numpy.array([processor.is_byte(i) for i in range(processor.piece_size())])
    newline = processor.piece_to_id("<0x0A>")
    total = {"documents": 0, "bytes": 0, "words": 0, "tokens": 0}
    spelled = 0
    for batch in batched(texts, 256):
        for text, ids in zip(batch, processor.encode(list(batch), return_type="numpy"), strict=True):
            total["documents"] += 1
            total["bytes"] += len(text.encode())
            total["words"] += len(text.split())
            total["tokens"] += len(ids)
            spelled += int(is_byte[ids].sum() - (ids == newline).sum())
    return total | {
        "tokens_per_word": total["tokens"] / max(1, total["words"]),
        "bytes_per_token": total["bytes"] / max(1, total["tokens"]),
        "byte_token_share": spelled / max(1, total["tokens"]),
    }
