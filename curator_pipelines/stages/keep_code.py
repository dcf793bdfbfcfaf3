"""The heuristic rules of source files: some for every file, some for the language that its name ends in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from nemo_curator.stages.text.filters import DocumentFilter

from curator_pipelines.stages.keep_all import KeepAll


@dataclass
class KeepCode(KeepAll):
    """KeepAll, with the rules of `by_extension` (".py" -> rules) after those for all. `url` ends in the file's path."""

    by_extension: Mapping[str, Sequence[tuple[str, DocumentFilter]]] = field(default_factory=dict)

    def rules_of(self, url: str) -> Sequence[tuple[str, DocumentFilter]]:
        return [*self.rules, *self.by_extension.get(extension(url), ())]


def extension(url: str) -> str:
    """The ending of the name that an address or a path points to, in lower case with its dot; "" for none."""
    try:
        path = urlsplit(url).path
    except ValueError:
        path = url
    return PurePosixPath(path).suffix.lower()
