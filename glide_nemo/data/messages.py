"""Reads conversations in JSONL, `{"messages": [{"role", "content"}, ...]}` a line, and says why a line is none."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from glide_nemo.artifact import RECORD, Artifact, file_sha256, load
from glide_nemo.errors import GlideError
from glide_nemo.tokenizer.chat import ASSISTANT, Turn

NAMED = 3  # bad lines in an error message
SHOWN = 200  # characters of a bad line in the ledger
ROLES = ("system", "user", ASSISTANT, "tool")


@dataclass(frozen=True)
class DataFile:
    """A file that was given, and what it held. Its name is its path below the folder that all of them lie in."""

    path: str
    name: str
    bytes: int
    sha256: str

    @property
    def identity(self) -> dict[str, str | int]:
        """What the artifact made of it depends on: not where it lies."""
        return {"name": self.name, "bytes": self.bytes, "sha256": self.sha256}


@dataclass(frozen=True)
class Line:
    """A line of a file, counted from 1: its conversation, the reason why it is none, or neither where it is blank."""

    file: str  # its name
    number: int
    text: str
    turns: tuple[Turn, ...] = ()
    record: dict[str, Any] | None = None  # all of the line's fields
    reason: str | None = None
    offset: int = 0  # of its first byte in the file
    size: int = 0  # in bytes


def describe(paths: Sequence[Path]) -> list[DataFile]:
    """The files by absolute path, name and digest; of an artifact of conversations, the JSONL files in it.

    GlideError for a file that is missing or empty.
    """
    whole = []
    for path in paths:
        if is_artifact(path):
            whole += sorted(load(path, "conversations").path.resolve().glob("*.jsonl"))
        elif path.is_dir():
            raise GlideError(f"{path} is a directory: pass the JSONL files in it, such as {path}/*.jsonl")
        elif not path.exists() or not path.stat().st_size:
            state = "empty" if path.exists() else "no such"
            raise GlideError(f"{state} file, {path}: pass JSONL with a conversation a line")
        else:
            whole.append(path.resolve())
    if not whole:
        raise GlideError("no conversations: pass --data FILE.jsonl...")
    folder = os.path.commonpath([path.parent for path in whole])
    return [
        DataFile(str(path), path.relative_to(folder).as_posix(), path.stat().st_size, file_sha256(path))
        for path in whole
    ]


def artifacts(paths: Sequence[Path]) -> dict[str, Artifact]:
    """Those of the paths that are artifacts, as the inputs of a step."""
    found = [load(path, "conversations") for path in paths if is_artifact(path)]
    return {f"data_{number}": artifact for number, artifact in enumerate(found, 1)}


def is_artifact(path: Path) -> bool:
    return (path / RECORD).exists()


def read(files: Sequence[DataFile], skip: int = 0) -> Iterator[Line]:
    """The lines of all files in order, after the first `skip`."""
    for file in files:
        with open(file.path, "rb") as lines:
            offset = 0
            for number, line in enumerate(lines, 1):
                if skip:
                    skip -= 1
                else:
                    yield replace(_parsed(file.name, number, line), offset=offset, size=len(line))
                offset += len(line)


def ledger_line(line: Line, reason: str) -> str:
    """What the ledger says of a line that left."""
    entry = {"file": line.file, "line": line.number, "reason": reason, "text": line.text[:SHOWN]}
    return json.dumps(entry, ensure_ascii=False) + "\n"


def check_share(bad: int, lines: int, allowed: float, ledger: Path) -> None:
    """GlideError where more than a share of the lines is bad, or there is none."""
    if not lines:
        raise GlideError("no conversations, every line is blank: pass JSONL in messages form")
    if bad <= allowed * lines:
        return
    with open(ledger, encoding="utf-8", errors="replace") as entries:
        first = [json.loads(entry) for entry, _ in zip(entries, range(NAMED), strict=False)]
    named = "; ".join(f"{entry['file']}:{entry['line']} {entry['reason']}" for entry in first)
    raise GlideError(
        f"{bad:,} of {lines:,} lines are no conversations to train on, more than max_bad_share={allowed:g} "
        f"({named}{'; ...' if bad > NAMED else ''}): mend those that {ledger} lists, or allow a larger share"
    )


def _parsed(file: str, number: int, line: bytes) -> Line:
    try:
        text = line.decode("utf-8").strip()
    except UnicodeDecodeError:
        return Line(file, number, line.decode("utf-8", "replace").strip(), reason="not UTF-8")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return Line(file, number, text, reason="not JSON" if text else None)
    turns = _turns(record)
    if isinstance(turns, str):
        return Line(file, number, text, reason=turns)
    return Line(file, number, text, turns, record)


def _turns(record: Any) -> tuple[Turn, ...] | str:
    """The turns of a conversation, or what is wrong with it."""
    if not isinstance(record, dict):
        return "not a JSON object"
    messages = record.get("messages")
    if not isinstance(messages, list) or not messages:
        return "no field 'messages'" if messages is None else "'messages' is no list of turns"
    turns = []
    for message in messages:
        if not isinstance(message, dict):
            return "a message is not a JSON object"
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            return "no field 'role'" if role is None else f"unknown role '{str(role)[:20]}'"
        if not isinstance(content, str):
            return "no field 'content'" if content is None else "'content' is not text"
        if any("\ud800" <= character <= "\udfff" for character in content):
            return "'content' holds half a character"
        if role == ASSISTANT and not content.strip():
            return "empty answer"
        turns.append((role, content))
    if all(role != ASSISTANT for role, _ in turns):
        return "no answer"
    if turns[0][0] == ASSISTANT:
        return "an answer without a question"
    return tuple(turns)
