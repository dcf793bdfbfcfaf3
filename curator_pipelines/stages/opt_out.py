"""Leaves out what owners or a robots list do not want trained on: domains with all below them, and URL prefixes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.ledger import Rejection, conclude
from glide_nemo.errors import GlideError

DOMAIN, PREFIX = "opt_out_domain", "opt_out_url"


@dataclass
class OptOut(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Files with a domain (`example.com`) or URL prefix (`https://example.org/private/`) a line; `#` begins a comment.

    A domain covers its subdomains. A prefix holds for http and https, and for its own host only. GlideError for a file
    that cannot be read.
    """

    files: list[str] = field(default_factory=list)
    name: str = "opt_out"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["id", "url", "bytes"]

    @cached_property
    def _entries(self) -> tuple[frozenset[str], dict[str, list[str]]]:
        return read_entries(line for file in self.files for line in read_lines(file))

    def process(self, batch: DocumentBatch) -> DocumentBatch:
        documents = batch.to_pandas()
        reasons = [opted_out(url, *self._entries) for url in documents["url"]]
        lost = [
            Rejection(row.id, row.url, self.name, why, None, int(row.bytes))
            for row, why in zip(documents.itertuples(), reasons, strict=True)
            if why
        ]
        kept = documents[[not why for why in reasons]] if len(documents) else documents
        return conclude(batch, self.name, kept, lost)


def read_lines(file: str) -> Sequence[str]:
    """The lines of an opt-out list. GlideError where it cannot be read."""
    try:
        return Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise GlideError(f"cannot read the opt-out list {file} ({error}): check opt_out=") from error


def read_entries(lines: Iterable[str]) -> tuple[frozenset[str], dict[str, list[str]]]:
    """The domains, and the prefixes (path and query) of each host."""
    domains, prefixes = [], {}
    for line in lines:
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        entry = entry.split(" #")[0].strip()
        host, path = _split(entry if "://" in entry else f"http://{entry}")
        host = host.removeprefix("*.").removeprefix(".")
        if not host:
            continue
        if path == "/" and "://" not in entry.rstrip("/"):
            domains.append(host)
        else:
            prefixes.setdefault(host, []).append(path)
    return frozenset(domains), prefixes


def opted_out(url: str, domains: frozenset[str], prefixes: dict[str, list[str]]) -> str:
    """Why a page is left out, "" where it is not."""
    host, path = _split(url)
    labels = host.split(".")
    if any(".".join(labels[start:]) in domains for start in range(len(labels))):
        return DOMAIN
    return PREFIX if any(path.startswith(prefix) for prefix in prefixes.get(host, ())) else ""


def _split(url: str) -> tuple[str, str]:
    """Host in lower case and IDNA, path and query unquoted and without dot segments; "" for what is no URL."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        resolved = urlsplit(urljoin("http://host/", parts.path)).path or "/"
    except ValueError:
        return "", "/"
    if not host.isascii():
        with contextlib.suppress(UnicodeError):  # labels too long or empty: no such host
            host = host.encode("idna").decode("ascii")
    return host, unquote(resolved) + (f"?{unquote(parts.query)}" if parts.query else "")
