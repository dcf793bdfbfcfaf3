"""Encoded examples on their way to packed rows: files that grow batch by batch, and a journal to go on from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from glide_nemo.artifact import write_atomically
from glide_nemo.corpus import SPLITS
from glide_nemo.data.bins import best_fit
from glide_nemo.data.packed import save, write_rows
from glide_nemo.errors import GlideError

LEDGER = "rejections.jsonl"


class Encoded:
    """Encoded examples in files that grow: tokens, whether learnt, lengths, (split, cut) and (file, line) of each."""

    def __init__(self, directory: Path, dtype: str) -> None:
        self.types = {"tokens": dtype, "learnt": "uint8", "lengths": "<i4", "facts": "uint8", "lines": "<i8"}
        self.paths = {name: directory / f".encoded.{name}.partial" for name in self.types}
        self.paths["ledger"] = directory / LEDGER
        self.journal = directory / ".encoded.journal"
        self.done: dict[str, Any] = {"read": 0, "lines": 0, "rejected": {}, "sizes": dict.fromkeys(self.paths, 0)}

    def resume(self) -> None:
        """Takes up what the journal says is written, and cuts the files back to just that."""
        if self.journal.exists():
            noted = json.loads(self.journal.read_text(encoding="utf-8"))
            sizes = noted["sizes"]
            if sizes.keys() == self.paths.keys() and all(
                path.exists() and path.stat().st_size >= sizes[name] for name, path in self.paths.items()
            ):
                self.done = noted
        for name, path in self.paths.items():
            path.touch()
            os.truncate(path, self.done["sizes"][name])

    def append(self, content: dict[str, bytes]) -> None:
        for name, path in self.paths.items():
            with open(path, "ab") as file:
                file.write(content[name])
                file.flush()
                os.fsync(file.fileno())
            self.done["sizes"][name] += len(content[name])
        write_atomically(self.journal, json.dumps(self.done))

    def write_split(self, split: int, seq_length: int, pad: int, out: Path) -> dict[str, Any]:
        """Packs the examples of a split into rows. GlideError where there is none."""
        import numpy

        arrays = {name: numpy.fromfile(self.paths[name], self.types[name]) for name in ("lengths", "facts")}
        lengths, facts = arrays["lengths"], arrays["facts"].reshape(-1, 2)
        chosen = numpy.flatnonzero(facts[:, 0] == split)
        if not len(chosen):
            raise GlideError(
                f"no conversation for the {SPLITS[split]} split among {len(lengths)}: pass more data, or another "
                "heldout_share"
            )
        ends = numpy.cumsum(lengths, dtype="<i8")
        tokens = numpy.memmap(self.paths["tokens"], self.types["tokens"], mode="r")
        learnt = numpy.memmap(self.paths["learnt"], "uint8", mode="r")
        spans = [slice(int(ends[number] - lengths[number]), int(ends[number])) for number in chosen]
        rows = best_fit(lengths[chosen].tolist(), seq_length)
        examples = _Spans(tokens, learnt, spans)
        write_rows(out, SPLITS[split], rows, examples, seq_length, pad, self.types["tokens"])
        lines = numpy.fromfile(self.paths["lines"], self.types["lines"]).reshape(-1, 2)[chosen]
        save(out, f"{SPLITS[split]}.lines", lines[[number for row in rows for number in row]])
        used = int(lengths[chosen].sum())
        return {
            "conversations": len(chosen),
            "rows": len(rows),
            "tokens": used,
            "learnt_tokens": int(sum(int(learnt[span].sum()) for span in spans)),
            "cut": int(facts[chosen, 1].sum()),
            "filled": used / (len(rows) * seq_length),
        }

    def remove(self) -> None:
        for path in [*self.paths.values(), self.journal]:
            if path.name != LEDGER:
                path.unlink()


class _Spans:
    """Examples as spans of the two long arrays, which stay on disk."""

    def __init__(self, tokens: Any, learnt: Any, spans: list[slice]) -> None:
        self.tokens, self.learnt, self.spans = tokens, learnt, spans

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, number: int) -> tuple[Any, Any]:
        return self.tokens[self.spans[number]], self.learnt[self.spans[number]]
