"""Where input lies: local paths, globs, directories and fsspec URLs, opened alike."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from glide_nemo.errors import GlideError

WILD = "*?["
LOCAL = "file://"


@dataclass(frozen=True)
class Located:
    """One file of the input: its absolute path or URL, and the name that its documents go by."""

    path: str
    name: str
    found: bool  # in a directory, not named by the user


def is_url(path: str) -> bool:
    return "://" in path


def locate(inputs: Sequence[str]) -> list[Located]:
    """The files that paths, globs, directories and URLs stand for, each once, in order of name within each input.

    A file in a directory goes by its place in it, so that the directory can be moved. Hidden files (`.git`) are left
    out. Raises GlideError for what stands for no file, and for a URL that cannot be read here.
    """
    files: dict[str, Located] = {}
    for given in inputs:
        given = given.removeprefix(LOCAL)
        found = list(_remote(given) if is_url(given) else _local(given))
        if not found:
            raise GlideError(f"no file in {given}: check the path, and quote a glob so that the shell leaves it alone")
        for file in found:
            files.setdefault(file.path, file)
    return list(files.values())


def open_binary(path: str | os.PathLike[str]) -> BinaryIO:
    """A local file or a URL for reading, with `seek`. OSError where it cannot be opened."""
    if not is_url(str(path)):
        return open(path, "rb")
    filesystem, inside = _filesystem(str(path))
    return filesystem.open(inside, "rb")


def size_of(path: str) -> int:
    """Bytes. OSError where there is no such file."""
    if not is_url(path):
        return os.stat(path).st_size
    filesystem, inside = _filesystem(path)
    return int(filesystem.size(inside))


def _local(given: str) -> Iterator[Located]:
    path = Path(given)
    if path.is_dir():
        for entry in sorted(path.rglob("*")):
            inside = entry.relative_to(path)
            if entry.is_file() and not any(part.startswith(".") for part in inside.parts):
                yield Located(str(entry.resolve()), f"{path.resolve().name}/{inside.as_posix()}", True)
    elif path.exists() or not any(sign in given for sign in WILD):
        path.stat()  # the system's own error says why not
        yield Located(str(path.resolve()), path.name, False)
    else:
        for name in sorted(glob.glob(given, recursive=True)):
            if Path(name).is_file():
                yield Located(str(Path(name).resolve()), Path(name).name, False)


def _remote(given: str) -> Iterator[Located]:
    filesystem, inside = _filesystem(given)
    if any(sign in inside for sign in "*[") or ("?" in inside and not given.startswith("http")):
        names = [(name, os.path.basename(name), False) for name in sorted(filesystem.glob(inside))]
    elif filesystem.isdir(inside):
        above = inside.rstrip("/").rpartition("/")[0]
        names = [(name, name.removeprefix(above).lstrip("/"), True) for name in sorted(filesystem.find(inside))]
    else:
        filesystem.info(inside)
        names = [(inside, os.path.basename(inside), False)]
    for path, name, found in names:
        yield Located(filesystem.unstrip_protocol(path), name, found)


def _filesystem(url: str) -> tuple[Any, str]:
    import fsspec.core

    try:
        return fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:  # a protocol that is unknown, or whose package is not installed
        raise GlideError(f"cannot read {url} ({error}): install what fsspec asks for, or copy it here") from error
