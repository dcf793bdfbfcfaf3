"""The preferences step: JSONL of pairs, through the chat template, to rows of tokens, chosen and rejected in turn.

{split}.bin, .idx      two rows a pair, the chosen answer first, each a document to Megatron-Core: prompt and answer
{split}.answers.npy    int32 (rows): at which token of a row the answer begins
{split}.lines.npy      int64 (pairs, 2): which of the files that were given each is of, held-out ones after the others,
                       and its line, from 1

Lines that are no pair are counted and listed in `rejections.jsonl`; more than a stated share of them is an error. Files
are written anew by a killed step: encoding a million pairs takes minutes.
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from glide_nemo.artifact import Artifact, Draft
from glide_nemo.console import progress
from glide_nemo.corpus import SPLITS
from glide_nemo.data import messages
from glide_nemo.data.indexed import token_type, write_index
from glide_nemo.data.packed import save
from glide_nemo.data.pairs import Pair, PairLine, read_pairs
from glide_nemo.errors import GlideError
from glide_nemo.steps import run_step
from glide_nemo.tokenizer.chat import ASSISTANT, Encoder, SentencePieceEncoder, conversation_tokens, turn_tokens
from glide_nemo.tokenizer.train import load_processor

LEDGER = "rejections.jsonl"
NAMED = 3  # bad lines in an error message
SHOWN = 200  # characters of a bad line in the ledger


@dataclass
class PreferencesConfig:
    """How pairs are encoded."""

    seq_length: int = 128  # tokens, the context that is trained on: what is longer of an answer is cut off
    heldout_share: float = 0.1  # of pairs, by a hash of the prompt: equal prompts fall on one side
    max_bad_share: float = 0.01  # of lines; more is an error

    def check(self) -> None:
        if not (0 < self.heldout_share < 1 and 0 <= self.max_bad_share <= 1):
            raise GlideError("heldout_share and max_bad_share are shares: choose values between 0 and 1")
        if self.seq_length < 2:
            raise GlideError(f"seq_length={self.seq_length} holds no prompt and answer: choose a larger one")


def pack_preferences(
    config: PreferencesConfig,
    data: Sequence[Path],
    tokenizer: Artifact,
    out: str | os.PathLike[str],
    *,
    heldout: Sequence[Path] = (),
    force: bool = False,
) -> Artifact:
    """Writes the rows of `train` and `heldout`, and the ledger of bad lines.

    Held out are the pairs of the files `heldout`, or where there are none a share of `data`, by prompt.
    Metrics: `vocab_size`, `dtype`, `pad`, `seq_length`, `lines`, `rejected` (lines by reason), and for each split
    `pairs`, `tokens`, `answer_tokens` and `cut` (answers that lost their end to the context).

    Raises GlideError where too many lines are bad, or a split gets no pair.
    """
    config.check()
    files, heldout_files = messages.describe(data), messages.describe(heldout) if heldout else []

    def write(draft: Draft) -> None:
        processor = load_processor(tokenizer.path)
        encoder, dtype = SentencePieceEncoder(processor), token_type(processor.piece_size())
        given = [_Split(draft.path, split, dtype) for split in SPLITS]
        ledger = _Ledger(draft.path / LEDGER)
        with progress("encoding pairs", None, "pairs") as advance:
            for group, always_heldout in ((files, False), (heldout_files, True)):
                share = 0.0 if heldout_files else config.heldout_share
                for line in read_pairs(group):
                    rows = _encoded(line, encoder, config.seq_length, ledger)
                    if rows is not None:
                        file = [file.name for file in group].index(line.file) + always_heldout * len(files)
                        given[always_heldout or _is_heldout(line.pair, share)].append(rows, (file, line.number))
                    advance()
        ledger.close(config.max_bad_share)
        draft.metrics = {
            "vocab_size": processor.piece_size(),
            "dtype": dtype,
            "pad": processor.pad_id(),
            "seq_length": config.seq_length,
            "lines": ledger.lines,
            "rejected": dict(sorted(ledger.reasons.items())),
        } | {split: part.finish() for split, part in zip(SPLITS, given, strict=True)}
        train = draft.metrics["train"]
        bad = ledger.reasons.total()
        draft.summary = (
            f"{train['pairs']:,} pairs to train on, {draft.metrics['heldout']['pairs']:,} held out, "
            f"{train['answer_tokens'] / (2 * train['pairs']):.0f} tokens an answer"
        ) + (f", {bad:,} bad lines" if bad else "")

    settings = asdict(config) | {
        "files": [file.identity for file in files],
        "heldout": [file.identity for file in heldout_files],
    }
    return run_step("preferences", out, "tokens", settings, {"tokenizer": tokenizer}, write, force=force)


Row = tuple[list[int], int, bool]  # tokens, where the answer begins, whether it was cut


def encode_pair(encoder: Encoder, pair: Pair, seq_length: int) -> tuple[Row, Row]:
    """The rows of a pair, of at most `seq_length` + 1 tokens: inputs and labels are one token apart.

    GlideError where the prompt leaves no room for an answer, or the answers differ only beyond the context.
    """
    prompt = turn_tokens(encoder, pair.prompt)
    if len(prompt) > seq_length:
        raise GlideError(f"prompt longer than the context of {seq_length} tokens")
    rows = []
    for answer in (pair.chosen, pair.rejected):
        ids, _ = conversation_tokens(encoder, [*pair.prompt, (ASSISTANT, answer)])
        ids = ids[: len(ids) - len(encoder.encode("\n"))]  # an answer ends with the end of its turn
        rows.append((ids[: seq_length + 1], len(prompt), len(ids) > seq_length + 1))
    if rows[0][0] == rows[1][0]:
        raise GlideError(f"answers that differ only beyond the context of {seq_length} tokens")
    return rows[0], rows[1]


def _encoded(line: PairLine, encoder: Encoder, seq_length: int, ledger: _Ledger) -> tuple[Row, Row] | None:
    ledger.lines += 1
    if line.pair is None:
        ledger.add(line, line.reason)
        return None
    try:
        return encode_pair(encoder, line.pair, seq_length)
    except GlideError as error:
        ledger.add(line, str(error))
        return None


def _is_heldout(pair: Pair, share: float) -> bool:
    """By the hash of the prompt: the same ones on every machine and in every order."""
    asked = json.dumps(pair.prompt, ensure_ascii=True)
    return int.from_bytes(hashlib.blake2b(asked.encode(), digest_size=8).digest()) / 2**64 < share


class _Split:
    """The rows of a split on their way to disk."""

    def __init__(self, out: Path, split: str, dtype: str) -> None:
        self.out, self.split, self.dtype = out, split, dtype
        self.partial = out / f".{split}.bin.partial"
        self.file = open(self.partial, "wb")  # noqa: SIM115, closed by finish
        self.lengths, self.answers, self.places = array("i"), array("i"), array("q")
        self.cut = 0

    def append(self, rows: Iterable[Row], place: tuple[int, int]) -> None:
        """Adds a pair, which stands at `place`: the number of a file, and a line."""
        import numpy

        self.places.extend(place)
        for ids, begins, cut in rows:
            numpy.array(ids, self.dtype).tofile(self.file)
            self.lengths.append(len(ids))
            self.answers.append(begins)
            self.cut += cut

    def finish(self) -> dict[str, int]:
        """Puts the files under their names. GlideError where the split is empty."""
        import numpy

        self.file.close()
        lengths, answers = numpy.array(self.lengths, "<i4"), numpy.array(self.answers, "<i4")
        if not len(lengths):
            raise GlideError(
                f"no pair for the {self.split} split: pass more data, another heldout_share or --heldout FILE.jsonl"
            )
        save(self.out, f"{self.split}.answers", answers)
        save(self.out, f"{self.split}.lines", numpy.array(self.places, "<i8").reshape(-1, 2))
        write_index(self.out / f"{self.split}.idx", lengths, self.dtype)
        os.replace(self.partial, self.out / f"{self.split}.bin")
        return {
            "pairs": len(lengths) // 2,
            "tokens": int(lengths.sum()),
            "answer_tokens": int((lengths - answers).sum()),
            "cut": self.cut,
        }


class _Ledger:
    """The lines that are no pairs, by file and line."""

    def __init__(self, path: Path) -> None:
        self.path, self.lines = path, 0
        self.reasons: Counter[str] = Counter()
        self.first: list[str] = []
        self.file = open(path, "w", encoding="utf-8", errors="replace")  # noqa: SIM115, closed by close

    def add(self, line: PairLine, reason: str) -> None:
        self.reasons[reason] += 1
        if len(self.first) < NAMED:
            self.first.append(f"{line.file}:{line.number} {reason}")
        entry: dict[str, Any] = {"file": line.file, "line": line.number, "reason": reason, "text": line.text[:SHOWN]}
        self.file.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def close(self, max_bad_share: float) -> None:
        """GlideError where more lines are bad than allowed."""
        self.file.close()
        bad = self.reasons.total()
        if not self.lines:
            raise GlideError("no pairs, every line is blank: pass JSONL with prompt, chosen and rejected")
        if bad > max_bad_share * self.lines:
            raise GlideError(
                f"{bad:,} of {self.lines:,} lines are no pairs to train on, more than max_bad_share={max_bad_share:g} "
                f"({'; '.join(self.first)}{'; ...' if bad > NAMED else ''}): mend those that {self.path} lists, or "
                "allow a larger share"
            )
