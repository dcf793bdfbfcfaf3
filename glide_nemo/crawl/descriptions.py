"""What the installed Python packages say of themselves, with their licences: prose that is here without a network."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from email.message import Message

from glide_nemo.artifact import Artifact, Draft, file_sha256, write_atomically
from glide_nemo.crawl.kinds import JSONL
from glide_nemo.crawl.sources import SourceFile
from glide_nemo.errors import GlideError
from glide_nemo.steps import run_step

FILE = "descriptions.jsonl"
# Trove classifiers that name one licence; "BSD License" and the like name a family, and stand for none.
CLASSIFIERS = {
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: ISC License (ISCL)": "ISC",
    "License :: OSI Approved :: Python Software Foundation License": "PSF-2.0",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "License :: OSI Approved :: The Unlicense (Unlicense)": "Unlicense",
    "License :: OSI Approved :: BSD 3-Clause": "BSD-3-Clause",
}


@dataclass
class DescriptionsConfig:
    """Which packages: the first `max_packages` by name, 0 for all."""

    max_packages: int = 0


def record_descriptions(config: DescriptionsConfig, out: str | os.PathLike[str], *, force: bool = False) -> Artifact:
    """The crawl artifact in `out`: JSONL with a document a package, the long description of its metadata (PEP 566).

    Raises GlideError where no installed package has one.
    """
    packages = sorted(described(), key=lambda package: package["id"])[: config.max_packages or None]
    if not packages:
        raise GlideError("no installed package has a description: install the pinned requirements")
    lines = "".join(json.dumps(package, ensure_ascii=False) + "\n" for package in packages)
    settings = {"descriptions": hashlib.sha256(lines.encode()).hexdigest()}  # all that the setting decides
    return run_step("crawl", out, "crawl", settings, {}, lambda draft: _write(lines, len(packages), draft), force=force)


def described() -> Iterator[dict[str, str]]:
    """`id`, `url`, `text` and `license` ("" where the metadata names no single one) of each installed package once."""
    seen = set()
    for distribution in importlib.metadata.distributions():
        metadata = distribution.metadata
        name, text = metadata["Name"], metadata.get("Description") or metadata.get_payload()
        if not name or not isinstance(text, str) or not text.strip() or name.lower() in seen:
            continue
        seen.add(name.lower())
        version = metadata["Version"]
        yield {
            "id": name.lower(),
            "url": f"package:{name.lower()}@{version}",
            "text": text,
            "license": license_of(metadata),
        }


def license_of(metadata: Message) -> str:
    """An SPDX expression: License-Expression (PEP 639), else that of a classifier that names one licence."""
    if stated := metadata.get("License-Expression"):
        return stated
    found = {CLASSIFIERS[name] for name in metadata.get_all("Classifier") or () if name in CLASSIFIERS}
    return found.pop() if len(found) == 1 else ""


def _write(lines: str, packages: int, draft: Draft) -> None:
    write_atomically(draft.path / FILE, lines)
    size = len(lines.encode())
    file = SourceFile(FILE, size, file_sha256(draft.path / FILE), JSONL)
    draft.metrics.update(
        source="files", license="unknown", warcs=[asdict(file)], left_out=[], packages=packages, bytes=size
    )
    draft.summary = f"descriptions of {packages} installed packages, {size / 1e6:,.1f} MB"
