"""Finds data of some kinds in text and puts typed placeholders in its place, in time linear in the text.

Three steps, each only where the one before found something: one scan for all kinds' triggers (an RE2 set, which most
texts pass without a hit), each kind's own pattern for candidates, and its check in Python: borders, check digits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import re2

Span = tuple[int, int]  # of bytes, start and end

WORD = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")
DIGITS = frozenset(b"0123456789")
JOINTS = frozenset(b".,/:")  # between digits they make one number, date or version of both sides
HYPHEN = ord("-")
MAX_PASSES = 8


@dataclass(frozen=True)
class Kind:
    """One kind of data.

    `trigger` and `pattern` are RE2 patterns over UTF-8; no text holds the kind without matching `trigger`, which
    is cheap. `check(text, match)` gives the span to replace, or None where the candidate is something else.
    """

    name: str
    placeholder: str
    trigger: bytes
    pattern: bytes
    check: Callable[[bytes | bytearray, Any], Span | None]
    whole: bool = False  # after a candidate that was none, look on behind it and not within it


class Redactor:
    """Replaces the data of `kinds`; where two lie over each other the kind named first wins."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self.kinds = tuple(kinds)

    def __getstate__(self) -> dict[str, Any]:
        return {"kinds": self.kinds}  # compiled patterns stay where they were made

    @cached_property
    def _triggers(self) -> re2.Set:
        options = re2.Options()
        options.log_errors = False
        triggers = re2.Set.SearchSet(options)
        for kind in self.kinds:
            triggers.Add(kind.trigger)
        triggers.Compile()
        return triggers

    @cached_property
    def _patterns(self) -> list[Any]:
        return [re2.compile(kind.pattern) for kind in self.kinds]

    def redact(self, text: str) -> tuple[str, Counter[str]]:
        """The text with placeholders, and how many of each kind were put in.

        Goes over the text until nothing is left to find, so that redacting twice is redacting once: a number that
        ran into another one may stand by itself once that one is gone. `MAX_PASSES` bounds the time on hostile text.
        """
        counts: Counter[str] = Counter()
        if not self.kinds:
            return text, counts
        before = data = text.encode("utf-8", "surrogatepass")
        for _ in range(MAX_PASSES):
            found = self._triggers.Match(data)
            if not found:
                break
            changed = False
            for number in sorted(found):
                data, times = _replaced(data, self.kinds[number], self._patterns[number])
                if times:
                    counts[self.kinds[number].name] += times
                    changed = True
            if not changed:
                break
        return (text if data is before else data.decode("utf-8", "surrogatepass")), counts


def _replaced(data: bytes, kind: Kind, pattern: Any) -> tuple[bytes, int]:
    parts: list[bytes] = []
    rest = bytearray(data)
    done = at = times = 0
    while match := pattern.search(rest, at):
        span = kind.check(rest, match)
        if span:
            parts += [data[done : span[0]], kind.placeholder.encode()]
            done = at = span[1]
            rest[done - 1 : done] = b">"  # a placeholder's end, which the next number stands alone behind
            times += 1
        else:
            at = match.end() if kind.whole else _after_word(rest, match.start())
    return (b"".join([*parts, data[done:]]), times) if times else (data, 0)


def _after_word(data: bytes, start: int) -> int:
    """Where the next word can begin: behind the letters and digits from `start` on, at least one byte further."""
    end = start + 1
    while end < len(data) and data[end - 1] in WORD and data[end] in WORD:
        end += 1
    return end


def stands_alone(data: bytes, start: int, end: int) -> bool:
    """Whether a number is no part of a longer word, decimal, date, version, path of numbers or hyphenated name."""
    return begins_alone(data, start) and ends_alone(data, end)


def begins_alone(data: bytes, start: int) -> bool:
    if not start:
        return True
    joint, further = data[start - 1], data[start - 2] if start > 1 else 0
    return joint not in WORD and not _joins(joint, further)


def ends_alone(data: bytes, end: int) -> bool:
    if end >= len(data):
        return True
    joint, further = data[end], data[end + 1] if end + 1 < len(data) else 0
    return joint not in WORD and not _joins(joint, further)


def _joins(joint: int, further: int) -> bool:
    return (joint in JOINTS and further in DIGITS) or (joint == HYPHEN and further in WORD)


def digits_of(candidate: bytes) -> str:
    """The digits of a number, without what separates them."""
    return bytes(byte for byte in candidate if byte in DIGITS).decode()
