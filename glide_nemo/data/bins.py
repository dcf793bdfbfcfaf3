"""Packs examples of different lengths into rows of one length, splitting none: best fit, longest first."""

from __future__ import annotations

from collections.abc import Sequence


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Rows of example numbers. A row's lengths add up to at most `capacity`, which no example exceeds.

    Longest first, each into the row that it leaves the least room in (Krell et al., arXiv 2107.02027, section 3).
    O(examples * capacity) at worst, memory of one integer an example; the same rows for the same lengths.
    """
    rows: list[list[int]] = []
    by_room: list[list[int]] = [[] for _ in range(capacity + 1)]  # rows by the room that is left in them
    for example in sorted(range(len(lengths)), key=lambda number: (-lengths[number], number)):
        length = lengths[example]
        assert 0 < length <= capacity, f"example {example} has {length} tokens"
        room = next((room for room in range(length, capacity + 1) if by_room[room]), None)
        row = len(rows) if room is None else by_room[room].pop()
        if room is None:
            rows.append([])
        rows[row].append(example)
        by_room[(capacity if room is None else room) - length].append(row)
    return rows
