"""Cuts passages out of a document as GPT-3 did: what matches, with what stands around it."""

from __future__ import annotations

from collections.abc import Sequence

BETWEEN = "\n\n"  # a break of paragraph where a passage stood, so that the text does not pretend to go on
WORD = 100  # characters that a cut may move outwards to the end of a word


def cut_passages(
    text: str, spans: Sequence[tuple[int, int]], *, window: int, min_piece: int, max_pieces: int
) -> str | None:
    """What is left of the text without the spans (in characters) and `window` characters on both sides.

    Pieces shorter than `min_piece` characters go too. None where nothing is left, or where the cuts part the text into
    more than `max_pieces` pieces: then it is made of the benchmark. Brown et al. 2020, appendix C: 200, 200, 10.
    """
    pieces: list[str] = []
    at = 0
    for start, end in _merged(text, spans, window):
        pieces.append(text[at:start])
        at = end
    pieces.append(text[at:])
    pieces = [piece.strip() for piece in pieces]
    pieces = [piece for piece in pieces if piece]
    kept = [piece for piece in pieces if len(piece) >= min_piece]
    return BETWEEN.join(kept) if kept and len(pieces) <= max_pieces else None


def _merged(text: str, spans: Sequence[tuple[int, int]], window: int) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        start, end = _outwards(text, max(0, start - window), min(len(text), end + window))
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _outwards(text: str, start: int, end: int) -> tuple[int, int]:
    """Moves the ends of a cut to white space, so that no half word is left."""
    for _ in range(WORD):
        if start > 0 and not text[start - 1].isspace():
            start -= 1
        if end < len(text) and not text[end].isspace():
            end += 1
    return start, end
