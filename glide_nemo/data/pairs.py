"""Reads preference pairs in JSONL, a prompt and two answers a line, and says why a line is none.

    {"prompt": "text", "chosen": "text", "rejected": "text"}
    {"prompt": [{"role", "content"}, ...], "chosen": [{"role": "assistant", "content"}], "rejected": [...]}
    {"chosen": [{"role", "content"}, ...], "rejected": [...]}     whole conversations, alike up to the last answer

`messages` is taken for `prompt`. TRL and NeMo-RL (BinaryPreferenceDataset) read the same lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from glide_nemo.data.messages import ROLES, DataFile
from glide_nemo.tokenizer.chat import ASSISTANT, Turn


@dataclass(frozen=True)
class Pair:
    """A prompt, up to where the assistant answers, and two answers to it."""

    prompt: tuple[Turn, ...]
    chosen: str
    rejected: str


@dataclass(frozen=True)
class PairLine:
    """A line of a file, counted from 1: its pair, or the reason why it is none."""

    file: str  # its name
    number: int
    text: str
    pair: Pair | None = None
    reason: str = ""


class _NoPairError(ValueError):
    """What is wrong with a line."""


def read_pairs(files: Sequence[DataFile]) -> Iterator[PairLine]:
    """The lines of all files in order; blank ones are passed over."""
    for file in files:
        with open(file.path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                text = line.decode("utf-8", "replace").strip()
                if not text:
                    continue
                try:
                    yield PairLine(file.name, number, text, pair=_parsed(line))
                except _NoPairError as error:
                    yield PairLine(file.name, number, text, reason=str(error))


def _parsed(line: bytes) -> Pair:
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise _NoPairError("not UTF-8") from None
    except (ValueError, RecursionError):
        raise _NoPairError("not JSON") from None
    if not isinstance(record, dict):
        raise _NoPairError("not a JSON object")
    for field in ("chosen", "rejected"):
        if record.get(field) is None:
            raise _NoPairError(f"no field '{field}'")
    prompt = record.get("prompt", record.get("messages"))
    chosen, rejected = record["chosen"], record["rejected"]
    if prompt is None:
        if isinstance(chosen, str) or isinstance(rejected, str):
            raise _NoPairError("no field 'prompt'")
        prompt, chosen, rejected = _split(chosen, rejected)
    pair = Pair(_prompt(prompt), _answer(chosen, "chosen"), _answer(rejected, "rejected"))
    if pair.chosen == pair.rejected:
        raise _NoPairError("both answers are the same")
    return pair


def _split(chosen: Any, rejected: Any) -> tuple[Any, Any, Any]:
    """The shared beginning of two conversations as the prompt, and what is left of each."""
    if not isinstance(chosen, list) or not isinstance(rejected, list):
        raise _NoPairError("the answers are neither text nor lists of turns")
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    return chosen[:shared], chosen[shared:], rejected[shared:]


def _prompt(value: Any) -> tuple[Turn, ...]:
    turns = (("user", value),) if isinstance(value, str) else _turns(value, "prompt")
    if not turns or not any(content.strip() for _, content in turns):
        raise _NoPairError("empty prompt")
    if turns[-1][0] == ASSISTANT:
        raise _NoPairError("the prompt ends with an answer")
    return turns


def _answer(value: Any, field: str) -> str:
    turns = ((ASSISTANT, value),) if isinstance(value, str) else _turns(value, field)
    if len(turns) != 1 or turns[0][0] != ASSISTANT:
        raise _NoPairError(f"'{field}' is not one turn of the assistant")
    if not turns[0][1].strip():
        raise _NoPairError("empty answer")
    return turns[0][1]


def _turns(value: Any, field: str) -> tuple[Turn, ...]:
    if not isinstance(value, list):
        raise _NoPairError(f"'{field}' is neither text nor a list of turns")
    turns = []
    for message in value:
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            raise _NoPairError(f"a message of '{field}' has no text 'content'")
        if message.get("role") not in ROLES:
            raise _NoPairError(f"unknown role '{str(message.get('role'))[:20]}'")
        turns.append((message["role"], message["content"]))
    return tuple(turns)
