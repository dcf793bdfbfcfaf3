"""The merge step: several sets of conversations to one, without duplicates, in stated shares of domain and language.

A line keeps all of its fields, its licence among them. Which lines a stratum gives, and the order of the result, go by
a hash of what is said and the seed: equal for equal input, however it is cut into files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from glide_nemo.artifact import Artifact, Draft
from glide_nemo.console import progress
from glide_nemo.data import messages, strata
from glide_nemo.data.encoded import LEDGER
from glide_nemo.data.strata import Stratum
from glide_nemo.errors import GlideError
from glide_nemo.steps import run_step

FILE = "merged.jsonl"
UNKNOWN = "unknown"  # of a line without the field
FIELDS = ("domain", "language", "license")


@dataclass
class MergeConfig:
    """What is taken. A stratum is a domain and a language; its weight is the product of theirs.

    Without weights all is taken. With weights for domains, those that are not named are left out; so with languages.
    """

    domains: dict[str, float] = field(default_factory=dict)
    languages: dict[str, float] = field(default_factory=dict)
    conversations: int | None = None  # in all; None is as many as the weights allow without repeating any
    max_bad_share: float = 0.01  # of lines; more is an error
    seed: int = 0

    def check(self) -> None:
        weights = [*self.domains.values(), *self.languages.values()]
        if any(not (weight > 0 and math.isfinite(weight)) for weight in weights):
            raise GlideError("weights of domains and languages must be positive: leave out what is not wanted")
        if self.conversations is not None and self.conversations < 1:
            raise GlideError(f"conversations={self.conversations} takes nothing: choose a positive number")


class Candidate(NamedTuple):
    """A line that may be taken: where it comes in the order, and where it lies."""

    order: bytes
    file: int
    offset: int
    size: int


def merge_datasets(
    config: MergeConfig, data: Sequence[Path], out: str | os.PathLike[str], *, force: bool = False
) -> Artifact:
    """Writes `merged.jsonl`, and `rejections.jsonl` of bad lines. `data` are JSONL files or artifacts of conversations.

    Two conversations are duplicates where roles and contents are equal but for case and white space; the first stays.
    Metrics: `conversations`, `lines`, `duplicates`, `rejected` (by reason), `strata` (`domain, language, available,
    target` share and what was `taken`), `licenses` and `files` (conversations taken of each).

    Raises GlideError where a weighted domain or language is not there, a stratum has too few for `conversations`, or
    too many lines are bad.
    """
    config.check()
    files = messages.describe(data)

    def write(draft: Draft) -> None:
        read = _read(files, config, draft.path / LEDGER)
        messages.check_share(read.rejected.total(), read.lines, config.max_bad_share, draft.path / LEDGER)
        available = {stratum: len(found) for stratum, found in read.strata.items()}
        shares = strata.shares(available, config.domains, config.languages)
        total = config.conversations or strata.most(available, shares)
        counts = strata.counts(available, shares, total)
        taken = {stratum: sorted(read.strata[stratum])[:count] for stratum, count in counts.items()}
        chosen = sorted(candidate for candidates in taken.values() for candidate in candidates)
        licenses = _copy(files, chosen, draft.path / FILE)
        draft.metrics = {
            "conversations": len(chosen),
            "lines": read.lines,
            "duplicates": read.duplicates,
            "rejected": dict(sorted(read.rejected.items())),
            "strata": [
                {
                    "domain": stratum[0],
                    "language": stratum[1],
                    "available": available[stratum],
                    "target": shares.get(stratum, 0.0),
                    "taken": len(taken.get(stratum, ())),
                }
                for stratum in sorted(available)
            ],
            "licenses": dict(sorted(licenses.items())),
            "files": dict(sorted(Counter(files[candidate.file].name for candidate in chosen).items())),
        }
        draft.summary = (
            f"{len(chosen):,} conversations of {read.lines:,} lines in {len(taken)} strata, {read.duplicates:,} "
            f"duplicates, {read.rejected.total():,} bad lines"
        )

    settings = asdict(config) | {"files": [file.identity for file in files]}
    return run_step("merge", out, "conversations", settings, messages.artifacts(data), write, force=force)


@dataclass
class _Read:
    """What all files hold: of each conversation only where it lies, so that memory stays small."""

    strata: dict[Stratum, list[Candidate]]
    rejected: Counter[str]
    lines: int = 0
    duplicates: int = 0


def _read(files: Sequence[messages.DataFile], config: MergeConfig, ledger: Path) -> _Read:
    read, seen = _Read(defaultdict(list), Counter()), set()
    with open(ledger, "w", encoding="utf-8") as rejections, progress("reading", None, "lines") as advance:
        for number, file in enumerate(files):
            for line in messages.read([file]):
                advance()
                if line.reason:
                    read.rejected[line.reason] += 1
                    rejections.write(messages.ledger_line(line, line.reason))
                read.lines += bool(line.reason or line.turns)
                if not line.turns:
                    continue
                said = json.dumps([[role, " ".join(content.casefold().split())] for role, content in line.turns])
                key = hashlib.blake2b(said.encode(), digest_size=16).digest()
                if key in seen:
                    read.duplicates += 1
                    continue
                seen.add(key)
                order = hashlib.blake2b(key, key=config.seed.to_bytes(8), digest_size=16).digest()
                domain, language, _ = _labels(line.record)
                read.strata[domain, language].append(Candidate(order, number, line.offset, line.size))
    return read


def _labels(record: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(record.get(name) or UNKNOWN) for name in FIELDS)


def _copy(files: Sequence[messages.DataFile], chosen: Sequence[Candidate], path: Path) -> Counter[str]:
    """Writes the chosen lines as they are, and counts their licences."""
    licenses: Counter[str] = Counter()
    partial = path.with_name(f".{path.name}.partial")
    with contextlib.ExitStack() as opened, open(partial, "wb") as merged:
        sources = [opened.enter_context(open(file.path, "rb")) for file in files]
        for candidate in chosen:
            sources[candidate.file].seek(candidate.offset)
            line = sources[candidate.file].read(candidate.size)
            merged.write(line.strip() + b"\n")
            licenses[_labels(json.loads(line))[2]] += 1
    os.replace(partial, path)
    return licenses
