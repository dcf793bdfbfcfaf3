"""The WARC files that a crawl stands for: recorded by us and inside the artifact, or the user's and left in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from glide_nemo.artifact import Artifact, file_sha256
from glide_nemo.console import progress
from glide_nemo.errors import GlideError

GZIP = b"\x1f\x8b"
OTHER_FORMATS = {
    b"\x28\xb5\x2f\xfd": "zstd-compressed: unpack it with `zstd -d` first",
    b"BZh": "bzip2-compressed: unpack it with `bunzip2` first",
    b"\xfd7zXZ": "xz-compressed: unpack it with `unxz` first",
    b"PK\x03\x04": "a zip archive: unpack it first",
}


@dataclass(frozen=True)
class WarcFile:
    """One WARC file: where it lies and what it held when it was recorded."""

    path: str
    bytes: int
    sha256: str


def describe(paths: Sequence[Path]) -> list[WarcFile]:
    """The files by absolute path and digest. GlideError for one that is missing, empty or no WARC."""
    for path in paths:
        check(path)
    described = []
    with progress("reading", len(paths), "files") as advance:
        for path in paths:
            described.append(WarcFile(str(path.resolve()), path.stat().st_size, file_sha256(path)))
            advance(1, path.name)
    return described


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


def files_of(crawl: Artifact) -> list[WarcFile]:
    """The WARC files of a crawl, in order. GlideError where one was moved, or has another size than was recorded."""
    files = []
    for entry in crawl.metrics["warcs"]:
        path = crawl.path / entry["path"]  # an absolute path stays itself
        if not path.exists():
            raise GlideError(f"no such WARC file, {path}: put it back, or record the crawl again with --warc")
        if path.stat().st_size != entry["bytes"]:
            raise GlideError(f"{path} has changed since {crawl.path} recorded it: record the crawl again with --force")
        files.append(WarcFile(str(path), entry["bytes"], entry["sha256"]))
    return files
