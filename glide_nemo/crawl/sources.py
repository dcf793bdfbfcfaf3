"""The files that a crawl stands for: recorded by us and inside the artifact, or the user's and left in place."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from glide_nemo.artifact import Artifact, file_sha256
from glide_nemo.console import progress
from glide_nemo.crawl.kinds import READABLE, WARC, tell
from glide_nemo.crawl.locate import is_url, locate, open_binary, size_of
from glide_nemo.errors import GlideError

BLOCK = 1 << 20
GZIP = b"\x1f\x8b"
OTHER_FORMATS = {
    b"\x28\xb5\x2f\xfd": "zstd-compressed: unpack it with `zstd -d` first",
    b"BZh": "bzip2-compressed: unpack it with `bunzip2` first",
    b"\xfd7zXZ": "xz-compressed: unpack it with `unxz` first",
    b"PK\x03\x04": "a zip archive: unpack it first",
}


@dataclass(frozen=True)
class SourceFile:
    """One input file: where it lies, what it held when it was recorded, and how it is to be read."""

    path: str  # absolute or a URL; of a file in the artifact: relative to it
    bytes: int
    sha256: str
    kind: str = WARC
    compression: str = ""  # of kinds that are unpacked before they are read
    name: str = ""  # that its documents go by; empty: the path's last part


def describe(paths: Sequence[Path]) -> list[SourceFile]:
    """WARC files by absolute path and digest. GlideError for one that is missing, empty or no WARC."""
    for path in paths:
        check(path)
    described = []
    with progress("reading", len(paths), "files") as advance:
        for path in paths:
            described.append(SourceFile(str(path.resolve()), path.stat().st_size, file_sha256(path)))
            advance(1, path.name)
    return described


def describe_inputs(inputs: Sequence[str]) -> tuple[list[SourceFile], list[str]]:
    """Files of any kind by path or URL, kind and digest, and the names of those in directories that are of none.

    Raises GlideError for an input that stands for no file, and for a file named that is empty or of no kind.
    """
    described, left_out = [], []
    located = locate(inputs)
    with progress("reading", len(located), "files") as advance:
        for file in located:
            advance(1, file.name)
            try:
                kind, compression = tell(file)
            except GlideError:
                if not file.found:
                    raise
                left_out.append(file.name)
                continue
            digest = _sha256(file.path)
            described.append(SourceFile(file.path, size_of(file.path), digest, kind, compression, file.name))
    if not described:
        raise GlideError(f"nothing to read in {', '.join(inputs)}, {len(left_out)} files left out: {READABLE}")
    return described, left_out


def check(path: Path) -> None:
    """Raises GlideError where a path is not a file that begins like a WARC, gzipped or not."""
    if path.is_dir():
        raise GlideError(f"{path} is a directory: pass the WARC files in it, such as {path}/*.warc.gz")
    with open(path, "rb") as file:
        start = file.read(8)
    if not start:
        raise GlideError(f"empty file, {path}: pass a WARC file that a crawler wrote")
    for magic, advice in OTHER_FORMATS.items():
        if start.startswith(magic):
            raise GlideError(f"{path} is {advice}")
    if not start.startswith((GZIP, b"WARC/")):
        raise GlideError(f"{path} is not a WARC file, it begins with {start!r}: pass one that a crawler wrote")


def files_of(crawl: Artifact) -> list[SourceFile]:
    """The files of a crawl, in order. GlideError where one was moved, or has another size than was recorded."""
    files = []
    for entry in crawl.metrics["warcs"]:
        # An absolute path stays itself.
        path = entry["path"] if is_url(entry["path"]) else str(crawl.path / entry["path"])
        kind = entry.get("kind", WARC)
        named = f"{'WARC' if kind == WARC else 'input'} file"
        try:
            size = size_of(path)
        except FileNotFoundError:
            again = "record the crawl again with --warc" if kind == WARC else "pass --input again"
            raise GlideError(f"no such {named}, {path}: put it back, or {again}") from None
        if size != entry["bytes"]:
            raise GlideError(f"{path} has changed since {crawl.path} recorded it: record the crawl again with --force")
        files.append(SourceFile(**{**entry, "path": path}))
    return files


def _sha256(path: str) -> str:
    with open_binary(path) as file:
        digest = hashlib.sha256()
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
