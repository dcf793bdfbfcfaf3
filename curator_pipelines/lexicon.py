"""A lexicon of weighted terms, and how often a text uses them: toxicity in languages that no kept classifier reads.

The file is UTF-8, one `term<TAB>weight` a line; empty lines and lines that begin with `#` say nothing. A term is a word
or a phrase, compared without regard to case, and stands between word borders; `*` at its beginning or end lets it
begin or end within a word, for inflection and compounds (`haus*` finds "Haustür"). The project ships
no such list.
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import ahocorasick

from glide_nemo.errors import GlideError

Entry = tuple[int, float, bool, bool]  # length of the term, weight, open before it, open behind it


@dataclass(frozen=True)
class Lexicon:
    """Terms with their weights, as `read_lexicon` gives them."""

    terms: dict[str, float] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        return {"terms": self.terms}  # the automaton is built where it is used

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @cached_property
    def _automaton(self) -> ahocorasick.Automaton:
        entries: dict[str, list[Entry]] = {}
        for term, weight in sorted(self.terms.items()):
            bare = term.strip("*")
            entries.setdefault(bare, []).append((len(bare), weight, term.startswith("*"), term.endswith("*")))
        automaton = ahocorasick.Automaton()
        for bare, forms in entries.items():
            automaton.add_word(bare, forms)
        automaton.make_automaton()
        return automaton

    def score(self, text: str) -> float:
        """Sum of the weights of the terms in the text, per 100 of its words.

        Of terms that lie over each other the one that begins first counts, then the longest, then the heaviest.
        """
        folded = fold(text)
        words = len(folded.split())
        if not words or not self.terms:
            return 0.0
        hits = []
        for last, forms in self._automaton.iter(folded):
            for length, weight, open_before, open_behind in forms:
                start, end = last + 1 - length, last + 1
                if (open_before or _border(folded, start)) and (open_behind or _border(folded, end)):
                    hits.append((start, -length, -weight))
        total, done = 0.0, 0
        for start, length, weight in sorted(hits):
            if start >= done:
                total, done = total - weight, start - length
        return round(100 * total / words, 6)


def fold(text: str) -> str:
    """As terms and texts are compared: NFC, no case, one space for any white space."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def _border(text: str, at: int) -> bool:
    return at in (0, len(text)) or not (text[at - 1].isalnum() and text[at].isalnum())


def read_lexicon(path: Path) -> Lexicon:
    """Reads a lexicon; raises GlideError naming the line that is none."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise GlideError(f"cannot read the lexicon {path} ({reason}): give a text file in UTF-8") from error
    terms: dict[str, float] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        term, _, written = line.partition("\t")
        folded, weight = fold(term), _weight(written)
        if weight is None or not folded.strip("*"):
            raise GlideError(f"{path}, line {number}: no lexicon entry: write a term, a tab and a weight above 0")
        if folded in terms:
            raise GlideError(f"{path}, line {number}: '{folded}' stands there twice: leave one of the lines out")
        terms[folded] = weight
    if not terms:
        raise GlideError(f"{path}: a lexicon without terms: write a term, a tab and a weight on each line")
    return Lexicon(terms)


def _weight(written: str) -> float | None:
    try:
        weight = float(written)
    except ValueError:
        return None
    return weight if 0 < weight < math.inf else None
