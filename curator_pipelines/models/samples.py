"""Where a classifier's samples come from: corpora that GLiDE made, JSONL, parquet, or text of one sample a line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from glide_nemo import corpus as corpora
from glide_nemo.artifact import RECORD, Artifact, file_sha256, load
from glide_nemo.errors import GlideError

FORMS = ".jsonl, .parquet, .txt, each also .gz but parquet"


@dataclass(frozen=True)
class Source:
    """A corpus, or a file with its digest, so that equal samples can be told from changed ones."""

    path: Path
    corpus: Artifact | None
    sha256: str

    def texts(self) -> Iterator[str]:
        """Its samples in order; of a corpus, the documents of the train split."""
        if self.corpus:
            yield from (text for _, text in corpora.documents(self.corpus, "train"))
        elif self.path.suffix == ".parquet":
            yield from _parquet(self.path)
        else:
            yield from _lines(self.path)


def sources(paths: Sequence[Path]) -> list[Source]:
    """The sources at these paths. GlideError for one that is missing or in a form that is not read."""
    found = []
    for path in map(Path, paths):
        if (path / RECORD).exists():
            corpus = load(path, "corpus")
            found.append(Source(path, corpus, corpus.sha256))
        elif not path.is_file():
            raise GlideError(f"no samples at {path}: pass a corpus that `glide curate` wrote, or files ({FORMS})")
        elif path.name.removesuffix(".gz").rsplit(".", 1)[-1] not in ("jsonl", "parquet", "txt"):
            raise GlideError(f"unknown form of samples, {path}: pass {FORMS}")
        else:
            found.append(Source(path, None, file_sha256(path)))
    return found


def _parquet(path: Path) -> Iterator[str]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if "text" not in file.schema_arrow.names:
                raise GlideError(f"no column 'text' in {path}: it has {', '.join(file.schema_arrow.names)}")
            for batch in file.iter_batches(256, columns=["text"]):
                yield from (text for text in batch["text"].to_pylist() if text)
    except pyarrow.ArrowInvalid as error:
        raise GlideError(f"{path} is no parquet file: pass one with a column 'text'") from error


def _lines(path: Path) -> Iterator[str]:
    is_json = path.name.removesuffix(".gz").endswith(".jsonl")
    opened = gzip.open if path.suffix == ".gz" else open
    read = 0
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            for line in file:
                if line.strip():
                    yield _text_of(line) if is_json else line
                read += 1
    except (ValueError, KeyError, TypeError) as error:  # of JSON, or of UTF-8
        wanted = 'JSON with a string "text"' if is_json else "UTF-8"
        raise GlideError(f"cannot read {path} after line {read}: each line has to be {wanted}") from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise GlideError(f"{path} is no whole gzip file: fetch or pack it again") from error


def _text_of(line: str) -> str:
    text = json.loads(line)["text"]
    if not isinstance(text, str):
        raise TypeError("text is no string")
    return text
