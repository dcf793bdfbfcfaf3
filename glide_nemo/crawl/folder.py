"""A directory of HTML as a crawl: documentation as packages install it, recorded as WARC with address and licence."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from glide_nemo.artifact import Artifact, Draft, file_sha256
from glide_nemo.config import as_plain
from glide_nemo.console import progress
from glide_nemo.crawl.sources import SourceFile
from glide_nemo.errors import GlideError
from glide_nemo.steps import run_step

HTML = (".html", ".htm", ".xhtml")
EPOCH = datetime(1980, 1, 1, tzinfo=UTC)  # of every record: when a file was unpacked says nothing about the page
NAMES = uuid.uuid5(uuid.NAMESPACE_URL, "glide:folder")


@dataclass
class FolderConfig:
    """Under which licence the pages stand, and which address they go by."""

    license: str = "unknown"  # SPDX expression
    source: str = ""  # what the pages are called; empty: the directory's name
    address: str = ""  # that the directory stands for; empty: http://SOURCE.localhost/

    def check(self) -> None:
        """Raises GlideError for an address that is none."""
        if self.address and not re.match(r"https?://[^/\s]+", self.address):
            raise GlideError(f"address={self.address} is no address: pass one such as https://example.org/manual/")


def crawl_folder(
    config: FolderConfig, folder: str | os.PathLike[str], out: str | os.PathLike[str], *, force: bool = False
) -> Artifact:
    """The crawl artifact in `out`: one WARC with every HTML file in `folder`, in order of name.

    Pages alone make it: the same files give the same bytes, wherever they lie and whenever they were unpacked. Hidden
    files, and links that lead out of the folder, are left out.

    Raises GlideError where there is no directory, or no page in it.
    """
    config.check()
    folder = Path(folder)
    if not folder.is_dir():
        raise GlideError(f"no directory {folder}: pass one that holds HTML files")
    pages = pages_in(folder)
    if not pages:
        raise GlideError(f"no page in {folder}: pass a directory with {', '.join(HTML)} files, or --input for text")
    source = re.sub(r"[^\w.-]+", "-", config.source or folder.resolve().name).strip("-.").lower() or "folder"
    address = f"{config.address.rstrip('/')}/" if config.address else f"http://{source}.localhost/"
    settings = {**as_plain(config), "source": source, "address": address, "pages": _digest(folder, pages)}
    return run_step(
        "crawl",
        out,
        "crawl",
        settings,
        {},
        lambda draft: _record(draft, folder, pages, config.license, source, address),
        force=force,
    )


def pages_in(folder: Path) -> list[str]:
    """The paths of HTML files in a directory, relative to it, sorted."""
    inside = folder.resolve()
    found = []
    for entry in folder.rglob("*"):
        path = entry.relative_to(folder)
        hidden = any(part.startswith(".") for part in path.parts)
        if entry.suffix.lower() in HTML and not hidden and entry.is_file() and entry.resolve().is_relative_to(inside):
            found.append(path.as_posix())
    return sorted(found)


def _digest(folder: Path, pages: Sequence[str]) -> str:
    lines = (f"{file_sha256(folder / page)} {page}\n" for page in pages)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _record(draft: Draft, folder: Path, pages: Sequence[str], license_: str, source: str, address: str) -> None:
    from warcio.warcwriter import WARCWriter

    warc = draft.path / f"{source}.warc.gz"
    partial = draft.path / f".{warc.name}.partial"
    html_bytes = 0
    with open(partial, "wb") as file, progress("recording", len(pages), "pages") as advance:
        writer = WARCWriter(file, gzip=True)
        for page in pages:
            url = address + quote(page, errors="surrogateescape")
            with open(folder / page, "rb") as body:
                size = os.fstat(body.fileno()).st_size
                record = writer.create_warc_record(
                    url,
                    "resource",
                    payload=body,
                    length=size,
                    warc_content_type="text/html",
                    warc_headers_dict={
                        "WARC-Date": EPOCH.strftime("%Y-%m-%dT%H:%M:%SZ"),
                        "WARC-Record-ID": f"<urn:uuid:{uuid.uuid5(NAMES, url)}>",
                    },
                )
                writer.write_record(record)
            html_bytes += size
            advance(1, page)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, warc)
    size = warc.stat().st_size
    draft.metrics.update(
        source=source,
        license=license_,
        warcs=[asdict(SourceFile(warc.name, size, file_sha256(warc)))],
        pages=len(pages),
        html_bytes=html_bytes,
        bytes=size,
    )
    draft.summary = f"{len(pages):,} pages of {source}, {size / 1e6:,.1f} MB of WARC"
