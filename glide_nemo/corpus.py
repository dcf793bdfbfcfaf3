"""How every step reads a corpus artifact: its documents, streamed in file order, whole or as a stated sample."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError

SPLITS = ("train", "heldout")
ROWS = 256  # read at a time: even of books that is a few hundred megabytes at most


def documents(corpus: Artifact, split: str, skip: int = 0) -> Iterator[tuple[str, str]]:
    """`(id, text)` of the documents of `train` or `heldout`, in the order of the corpus, after the first `skip`."""
    for document in records(corpus, split, ("id", "text"), skip):
        yield document["id"], document["text"]


def records(corpus: Artifact, split: str, fields: Sequence[str], skip: int = 0) -> Iterator[dict[str, Any]]:
    """Fields of the documents of `train` or `heldout`, in the order of the corpus, after the first `skip`.

    Raises GlideError where the split holds no document or a file is not parquet with these fields.
    """
    import pyarrow
    import pyarrow.parquet

    assert split in SPLITS, split
    folder = corpus.path / split
    if packed := sorted(folder.glob("*.jsonl.zst")):
        yield from _json_records(packed, fields, skip)
        return
    files = sorted(folder.glob("*.parquet"))
    empty = True
    for path in files:
        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                rows = file.metadata.num_rows
                empty = empty and not rows
                if skip >= rows:
                    skip -= rows
                    continue
                for batch in file.iter_batches(ROWS, columns=list(fields)):
                    if missing := set(fields) - set(batch.schema.names):
                        raise KeyError(f"no field '{min(missing)}'")
                    start, skip = min(skip, len(batch)), max(0, skip - len(batch))
                    yield from batch.slice(start).to_pylist()
        except (pyarrow.ArrowInvalid, KeyError) as error:
            reason = str(error.args[0]).splitlines()[0]
            raise GlideError(f"cannot read {path} ({reason}): curate the corpus again") from error
    if empty:
        raise GlideError(f"no {split} documents in {corpus.path}: curate more text")


def _json_records(files: Sequence[Path], fields: Sequence[str], skip: int) -> Iterator[dict[str, Any]]:
    """The same, of a corpus in JSON lines."""
    import zstandard

    seen = 0
    for path in files:
        try:
            with open(path, "rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as plain:
                for line in io.TextIOWrapper(plain, encoding="utf-8", newline="\n"):
                    seen += 1
                    if seen > skip:
                        row = json.loads(line)
                        yield {field: row[field] for field in fields}
        except (zstandard.ZstdError, ValueError, KeyError) as error:
            raise GlideError(f"cannot read {path} ({error}): curate the corpus again") from error
    if not seen:
        raise GlideError(f"no {files[0].parent.name} documents in {files[0].parent.parent}: curate more text")


def sample(corpus: Artifact, split: str, max_bytes: int) -> Iterator[str]:
    """Texts of about `max_bytes` (UTF-8) of a split, all of it where it is smaller.

    A document is in the sample if the hash of its id, as a fraction, is below `max_bytes` / (bytes of the split):
    the same documents on every machine and in every order, spread over the whole corpus.
    """
    share = max_bytes / max(1, corpus.metrics["split"][split]["bytes"])
    for identifier, text in documents(corpus, split):
        if share >= 1 or _fraction(identifier) < share:
            yield text


def _fraction(identifier: str) -> float:
    return int.from_bytes(hashlib.blake2b(identifier.encode(), digest_size=8).digest()) / 2**64
