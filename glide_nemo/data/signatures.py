"""Finds what pydoc documents on a page of text: modules, classes and functions with their first sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MODULE = re.compile(r"^(?P<name>[a-z_][\w.]*)(?: \(version .*\))? index$", re.IGNORECASE)
SIGNATURE = re.compile(r"^(?P<name>[A-Za-z]\w*)\((?P<arguments>[^()]*(?:\([^()]*\)[^()]*)*)\)(?: -> [^:]+)?$")
CLASS = re.compile(r"^class (?P<name>[A-Za-z]\w*)\(")
SECTIONS = ("Classes", "Functions", "Data", "Modules", "Package Contents", "Author", "Credits", "Submodules")
OWN, INHERITED = re.compile(r"^\w[\w ]* defined here:$"), re.compile(r"^\w[\w ]* inherited from .*:$")
HEADING = re.compile(r"^(?:\w[\w ]* (?:defined here|inherited from .*)|Method resolution order|Examples?|Usage|Note):$")
OPENING = re.compile(r"^[\"'`(*]*[A-Z]")  # of a sentence, not of code
SENTENCE = re.compile(r"^(.{15,300}?[.!?])(?:\s|$)", re.DOTALL)


@dataclass(frozen=True)
class Documented:
    """A thing with documentation."""

    kind: str  # module, class, function or method
    name: str  # dotted, from the module on
    arguments: str | None  # as its signature has them
    does: str  # the first sentence of its documentation


def documented(text: str) -> Iterator[Documented]:
    """What a page documents. Inherited methods are their owners'; private names and what has no sentence are left out.

    A page is told by its first lines (`textwrap index`); other text yields nothing.
    """
    lines = text.split("\n")
    module = next((found["name"] for line in lines[:12] if (found := MODULE.match(line))), None)
    if module is None:
        return
    owner, inherited = "", False
    for number, line in enumerate(lines):
        if line in ("Module Reference", "Module Docs"):
            yield from _entry("module", module, None, lines, number + 1)
        elif line in SECTIONS:
            owner, inherited = "", False
        elif found := CLASS.match(line):
            owner, inherited = found["name"], False
            at = number + 1
            if at < len(lines) and (call := SIGNATURE.match(lines[at])) and call["name"] == owner:
                yield from _entry("class", f"{module}.{owner}", call["arguments"], lines, at + 1)
            else:
                yield from _entry("class", f"{module}.{owner}", None, lines, at)
        elif INHERITED.match(line):
            inherited = True
        elif OWN.match(line):
            inherited = False
        elif not inherited and (found := SIGNATURE.match(line)) and found["name"] != owner:
            if number and (before := SIGNATURE.match(lines[number - 1])) and before["name"] == found["name"]:
                continue  # a docstring that begins with the signature
            name = ".".join(filter(None, (module, owner, found["name"])))
            yield from _entry("method" if owner else "function", name, found["arguments"], lines, number + 1)


def _entry(kind: str, name: str, arguments: str | None, lines: list[str], start: int) -> Iterator[Documented]:
    sentence = _first_sentence(lines, start)
    if sentence:
        yield Documented(kind, name, arguments, sentence)


def _first_sentence(lines: list[str], start: int) -> str | None:
    """Of the paragraph that begins at a line, past blank lines and a signature that the docstring itself opens with."""
    while start < len(lines) and (not lines[start].strip() or SIGNATURE.match(lines[start].partition(" -")[0])):
        if lines[start].strip() and lines[start + 1 : start + 2] != [""]:
            return None  # the next signature: this one is not documented
        start += 1
    paragraph = []
    for line in lines[start : start + 12]:
        if not line.strip() or any(pattern.match(line) for pattern in (HEADING, SIGNATURE, CLASS)) or line in SECTIONS:
            break
        paragraph.append(line.strip())
    text = " ".join(" ".join(paragraph).split())
    if not OPENING.match(text):
        return None
    if found := SENTENCE.match(text):
        return found[1]
    return f"{text}." if 15 <= len(text) <= 200 and text[-1] not in ":,;(" else None
