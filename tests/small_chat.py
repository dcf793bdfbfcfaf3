"""Small sets of conversations in JSONL, for tests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Turn = tuple[str, str]


def line(*turns: Turn, **fields: Any) -> str:
    """A conversation as a line of JSONL, with further fields."""
    return json.dumps({"messages": [{"role": role, "content": content} for role, content in turns]} | fields)


def asked(question: str, answer: str, **fields: Any) -> str:
    return line(("user", question), ("assistant", answer), **fields)


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    path.write_text("".join(f"{text}\n" for text in lines), encoding="utf-8")
    return path


def sums(count: int) -> Sequence[str]:
    """Questions with answers of different lengths, and a conversation of two rounds now and then."""
    lines = []
    for number in range(count):
        question, answer = f"What is {number} plus {number}?", f"It is {2 * number}. " * (1 + number % 4)
        more = [("user", "Sure?"), ("assistant", "Yes.")] if number % 5 == 0 else []
        lines.append(line(("user", question), ("assistant", answer.strip()), *more))
    return lines
