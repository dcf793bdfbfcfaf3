"""The tokens step: a corpus through a tokenizer into Megatron-Core's `.bin` and `.idx`, one pair a split.

Each document ends with the end-of-text token. Encoding runs on all cores; what has been written is noted after every
batch, so that a killed step goes on where it was and memory stays that of one batch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glide_nemo import corpus as corpora
from glide_nemo.artifact import Artifact, Draft, write_atomically
from glide_nemo.console import progress
from glide_nemo.data.indexed import token_type, write_index
from glide_nemo.errors import GlideError
from glide_nemo.steps import run_step
from glide_nemo.tokenizer.bulk import BulkEncoder

NOTHING = {"documents": 0, "bytes": 0, "tokens": 0}
LENGTH, LENGTH_BYTES = "<i4", 4  # of a document in tokens, as the index holds it


@dataclass
class PackConfig:
    """How a corpus is packed. Nothing here changes the tokens."""

    batch_bytes: int = 16_000_000  # of text encoded at a time; what a kill loses at most

    def check(self) -> None:
        if self.batch_bytes < 1:
            raise GlideError(f"batch_bytes={self.batch_bytes} must be positive: choose another value")


def pack(
    config: PackConfig, corpus: Artifact, tokenizer: Artifact, out: str | os.PathLike[str], *, force: bool = False
) -> Artifact:
    """Writes `train.bin/.idx` and `heldout.bin/.idx`: tokens as uint16 where the vocabulary allows, else int32.

    Metrics: `eod` (the id that ends documents), `vocab_size`, `dtype`, and for each split `documents`, `bytes` (UTF-8
    of its text), `tokens` (with the end-of-text ones), `bytes_per_token`.

    Raises GlideError where a split holds no document.
    """
    config.check()

    def write(draft: Draft) -> None:
        encoder = BulkEncoder(tokenizer.path)
        draft.metrics = {
            "eod": encoder.eos_id,
            "vocab_size": encoder.vocab_size,
            "dtype": token_type(encoder.vocab_size),
        }
        for split in corpora.SPLITS:
            draft.metrics[split] = _pack_split(config, corpus, split, encoder, draft.path)
        train, heldout = draft.metrics["train"], draft.metrics["heldout"]
        draft.summary = (
            f"{train['tokens']:,} tokens to train on, {heldout['tokens']:,} held out, "
            f"{train['bytes_per_token']:.2f} bytes a token"
        )

    return run_step("tokens", out, "tokens", config, {"corpus": corpus, "tokenizer": tokenizer}, write, force=force)


def _pack_split(config: PackConfig, corpus: Artifact, split: str, encoder: BulkEncoder, out: Path) -> dict[str, Any]:
    """Encodes a split into `{split}.bin` and `.idx`, from where an earlier run stopped; `{split}.json` comes last."""
    import numpy

    finished, journal = out / f"{split}.json", out / f".{split}.journal"
    tokens_file, lengths_file = out / f".{split}.bin.partial", out / f".{split}.lengths.partial"
    if finished.exists():
        for leftover in (journal, lengths_file):
            leftover.unlink(missing_ok=True)
        return json.loads(finished.read_text(encoding="utf-8"))
    dtype = numpy.dtype(token_type(encoder.vocab_size))
    done = _resume(journal, {tokens_file: dtype.itemsize, lengths_file: LENGTH_BYTES})
    with (
        open(tokens_file, "ab") as tokens,
        open(lengths_file, "ab") as lengths,
        progress(f"packing {split}", corpus.metrics["split"][split]["documents"], "documents") as advance,
    ):
        advance(done["documents"])
        for texts in _batches(corpus, split, done["documents"], config.batch_bytes):
            ids, starts = encoder.encode(texts)
            numpy.insert(ids, starts[1:], encoder.eos_id).astype(dtype).tofile(tokens)
            (numpy.diff(starts) + 1).astype(LENGTH).tofile(lengths)
            for file in (tokens, lengths):
                file.flush()
                os.fsync(file.fileno())
            done["documents"] += len(texts)
            done["bytes"] += sum(len(text.encode()) for text in texts)
            done["tokens"] += len(ids) + len(texts)
            write_atomically(journal, json.dumps(done))
            advance(len(texts))
    write_index(out / f"{split}.idx", numpy.memmap(lengths_file, LENGTH, mode="r"), dtype.name)
    os.replace(tokens_file, out / f"{split}.bin")
    stated = done | {"bytes_per_token": done["bytes"] / done["tokens"]}
    write_atomically(finished, json.dumps(stated) + "\n")
    for leftover in (journal, lengths_file):
        leftover.unlink()
    return stated


def _resume(journal: Path, files: dict[Path, int]) -> dict[str, int]:
    """What the journal says is written, with the files (tokens, lengths, by bytes an item) cut back to just that."""
    done = dict(NOTHING)
    if journal.exists():
        done = json.loads(journal.read_text(encoding="utf-8"))
    sizes = dict(zip(files, (done["tokens"], done["documents"]), strict=True))
    if any(not path.exists() or path.stat().st_size < sizes[path] * files[path] for path in files):
        done, sizes = dict(NOTHING), dict.fromkeys(files, 0)
        journal.unlink(missing_ok=True)
    for path, item_bytes in files.items():
        path.touch()
        os.truncate(path, sizes[path] * item_bytes)
    return done


def _batches(corpus: Artifact, split: str, skip: int, batch_bytes: int) -> Iterator[list[str]]:
    """Texts of a split after the first `skip`, at least `batch_bytes` at a time."""
    texts, size = [], 0
    for _, text in corpora.documents(corpus, split, skip):
        texts.append(text)
        size += len(text.encode())
        if size >= batch_bytes:
            yield texts
            texts, size = [], 0
    if texts:
        yield texts
