"""The conversations step: JSONL in `messages` form, through the chat template, to packed rows to fine-tune on.

Only what the assistant wrote is learnt, ends of turns included. Lines that are no conversation are counted and listed
in `rejections.jsonl`; more than a stated share of them is an error. What has been encoded is noted after every batch of
lines, so that a killed step goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from glide_nemo.artifact import Artifact, Draft
from glide_nemo.console import progress
from glide_nemo.corpus import SPLITS
from glide_nemo.data import messages
from glide_nemo.data.encoded import LEDGER, Encoded
from glide_nemo.data.indexed import token_type
from glide_nemo.errors import GlideError
from glide_nemo.steps import run_step
from glide_nemo.tokenizer.chat import SentencePieceEncoder, Turn, conversation_tokens
from glide_nemo.tokenizer.train import load_processor


@dataclass
class ConversationsConfig:
    """How conversations are packed."""

    seq_length: int = 256  # tokens of a row, the context that is trained on
    heldout_share: float = 0.05  # of conversations, by a hash of what is said: equal ones fall on one side
    max_bad_share: float = 0.01  # of lines; more is an error
    batch_lines: int = 4_096  # encoded at a time; what a kill loses at most

    def check(self) -> None:
        if not (0 < self.heldout_share < 1 and 0 <= self.max_bad_share <= 1):
            raise GlideError("heldout_share and max_bad_share are shares: choose values between 0 and 1")
        if self.seq_length < 2 or self.batch_lines < 1:
            raise GlideError("seq_length must be 2 or more and batch_lines 1 or more: choose other values")


def pack_conversations(
    config: ConversationsConfig,
    data: Sequence[Path],
    tokenizer: Artifact,
    out: str | os.PathLike[str],
    *,
    force: bool = False,
) -> Artifact:
    """Writes the rows of `data/packed.py` for `train` and `heldout`, and the ledger of bad lines.

    `data` are JSONL files, or artifacts of conversations.

    A conversation longer than a row loses its end (`cut`); one whose first answer begins beyond it is a bad line.
    Metrics: `vocab_size`, `dtype`, `eod`, `seq_length`, `lines`, `rejected` (lines by reason), and for each split
    `conversations, rows, tokens, learnt_tokens, cut, filled` (the share of its rows that is not padding).

    Raises GlideError where too many lines are bad, or a split gets no conversation.
    """
    config.check()
    files = messages.describe(data)

    def write(draft: Draft) -> None:
        processor = load_processor(tokenizer.path)
        dtype = token_type(processor.piece_size())
        encoded = _encode(config, files, SentencePieceEncoder(processor), dtype, draft.path)
        bad = sum(encoded.done["rejected"].values())
        messages.check_share(bad, encoded.done["lines"], config.max_bad_share, draft.path / LEDGER)
        draft.metrics = {
            "vocab_size": processor.piece_size(),
            "dtype": dtype,
            "eod": processor.eos_id(),
            "seq_length": config.seq_length,
            "lines": encoded.done["lines"],
            "rejected": dict(sorted(encoded.done["rejected"].items())),
        }
        for number, split in enumerate(SPLITS):
            draft.metrics[split] = encoded.write_split(number, config.seq_length, processor.pad_id(), draft.path)
        encoded.remove()
        train = draft.metrics["train"]
        draft.summary = (
            f"{train['conversations']:,} conversations to train on in {train['rows']:,} rows of {config.seq_length}, "
            f"{train['filled']:.0%} full, {draft.metrics['heldout']['conversations']:,} held out"
            + (f", {bad:,} bad lines" if bad else "")
        )

    settings = asdict(config) | {"files": [file.identity for file in files]}
    inputs = {"tokenizer": tokenizer} | messages.artifacts(data)
    return run_step("conversations", out, "tokens", settings, inputs, write, force=force)


def _encode(
    config: ConversationsConfig,
    files: Sequence[messages.DataFile],
    encoder: SentencePieceEncoder,
    dtype: str,
    out: Path,
) -> Encoded:
    """Encodes the lines that an earlier run has not."""
    import numpy

    encoded = Encoded(out, dtype)
    encoded.resume()
    done, numbers = encoded.done, {file.name: number for number, file in enumerate(files)}
    with progress("encoding", None, "lines") as advance:
        advance(done["read"])
        for batch in _batches(messages.read(files, done["read"]), config.batch_lines):
            tokens, learnt, lengths, facts, places, ledger = [], [], [], [], [], []
            rejected = Counter(done["rejected"])
            for line in batch:
                reason = line.reason
                if line.turns:
                    ids, written = conversation_tokens(encoder, line.turns)
                    if any(written[: config.seq_length]):
                        tokens += ids[: config.seq_length]
                        learnt += written[: config.seq_length]
                        lengths.append(min(len(ids), config.seq_length))
                        places.append((numbers[line.file], line.number))
                        facts.append((_is_heldout(line.turns, config.heldout_share), len(ids) > config.seq_length))
                    else:
                        reason = f"prompt longer than the context of {config.seq_length} tokens"
                if reason:
                    rejected[reason] += 1
                    ledger.append(messages.ledger_line(line, reason))
            done["read"] += len(batch)
            done["lines"] += len(lengths) + len(ledger)
            done["rejected"] = dict(rejected)
            encoded.append(
                {
                    "tokens": numpy.array(tokens, dtype).tobytes(),
                    "learnt": numpy.array(learnt, "uint8").tobytes(),
                    "lengths": numpy.array(lengths, "<i4").tobytes(),
                    "facts": numpy.array(facts, "uint8").tobytes(),
                    "lines": numpy.array(places, "<i8").tobytes(),
                    "ledger": "".join(ledger).encode(),
                }
            )
            advance(len(batch))
    return encoded


def _batches(lines: Iterator[messages.Line], size: int) -> Iterator[list[messages.Line]]:
    batch = []
    for line in lines:
        batch.append(line)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _is_heldout(turns: Sequence[Turn], share: float) -> bool:
    """By the hash of a conversation: the same ones on every machine and in every order."""
    said = json.dumps(turns, ensure_ascii=True)
    return int.from_bytes(hashlib.blake2b(said.encode(), digest_size=8).digest()) / 2**64 < share
