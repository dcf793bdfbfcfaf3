"""What is looked at before a file is written: that an artifact is as its step left it, and that the disk has room."""

from __future__ import annotations

import shutil
from pathlib import Path

from glide_nemo.artifact import VOLATILE, Artifact, file_sha256
from glide_nemo.errors import GlideError

SPARE = 1.02  # of the bytes that are needed: headers, tokenizer, the file system's own


def require_intact(artifact: Artifact, folder: str = "") -> None:
    """GlideError where a file of an artifact, or of one folder in it, is missing or not as artifact.json lists it."""
    for entry in artifact.record["files"]:
        within = entry["path"].partition("/")[0]
        if within == VOLATILE or (folder and within != folder):
            continue
        path = artifact.path / entry["path"]
        if not path.is_file():
            raise GlideError(f"{path} is missing: make {artifact.path} again")
        # Sizes first: a file cut short is told without reading the rest.
        if path.stat().st_size != entry["bytes"] or file_sha256(path) != entry["sha256"]:
            raise GlideError(f"{path} is not as {artifact.path}/artifact.json lists it: make it again")


def require_space(folder: Path, needed: int) -> None:
    """GlideError where the disk of a folder has less room than `needed` bytes and a little more."""
    free = shutil.disk_usage(folder).free
    if needed * SPARE > free:
        raise GlideError(
            f"no space for {needed / 1e9:,.1f} GB, the disk of {folder} has {free / 1e9:,.1f} GB free: "
            "free some, or choose another --out"
        )
