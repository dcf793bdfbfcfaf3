"""Common Crawl's files as a crawl: some of its WARC or WET files, evenly spread over it, downloaded in parallel."""

from __future__ import annotations

import gzip
import os
import re
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from glide_nemo.artifact import Artifact, Draft, file_sha256
from glide_nemo.config import as_plain
from glide_nemo.console import progress
from glide_nemo.crawl.kinds import WARC, WET
from glide_nemo.crawl.sources import SourceFile
from glide_nemo.errors import GlideError
from glide_nemo.steps import run_step

if TYPE_CHECKING:
    import httpx

    from glide_nemo.crawl.open_connections import OpenConnections

FOLDER = "files"
CRAWL = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
HOW_IT_IS_FETCHED = ("base_url", "parallel", "tries", "timeout_seconds", "max_wait_seconds")  # not what comes of it


@dataclass
class CommonCrawlConfig:
    """How much of a crawl to fetch, from where, and how patiently."""

    files: int = 1  # of about 90,000 in a crawl, about 1 GB each (WARC) or 0.1 GB (WET)
    kind: str = WARC  # or wet: text that Common Crawl extracted
    base_url: str = "https://data.commoncrawl.org"
    parallel: int = 4  # downloads at a time; Common Crawl answers 503 to those who ask for much more
    tries: int = 10  # of one file in a row that bring nothing
    timeout_seconds: float = 60.0  # without a byte
    max_wait_seconds: float = 60.0  # between two tries

    def check(self) -> None:
        """Raises GlideError for a value that no download could use."""
        if self.kind not in (WARC, WET):
            raise GlideError(f"unknown kind '{self.kind}': choose {WARC} or {WET}")
        if not self.base_url.startswith(("http://", "https://")):
            raise GlideError(f"base_url={self.base_url} is no address: pass one that begins with https://")
        for name in ("files", "parallel", "tries", "timeout_seconds", "max_wait_seconds"):
            if getattr(self, name) <= 0:
                raise GlideError(f"{name}={getattr(self, name)} is too small: choose more than 0")


def common_crawl(
    config: CommonCrawlConfig, crawl_id: str, out: str | os.PathLike[str], *, force: bool = False
) -> Artifact:
    """The crawl artifact in `out` with `config.files` files of a crawl such as CC-MAIN-2025-05.

    Which files is a matter of the crawl's own list alone. Killed and run again, only what is missing is fetched.

    Raises GlideError where the crawl is unknown, or a file cannot be had whole.
    """
    config.check()
    if not CRAWL.fullmatch(crawl_id):
        raise GlideError(f"'{crawl_id}' is no crawl's name: pass one such as CC-MAIN-2025-05")
    settings = {key: value for key, value in as_plain(config).items() if key not in HOW_IT_IS_FETCHED}
    settings = {"common_crawl": crawl_id, **settings}
    return run_step("crawl", out, "crawl", settings, {}, lambda draft: _fetch(config, crawl_id, draft), force=force)


def _fetch(config: CommonCrawlConfig, crawl_id: str, draft: Draft) -> None:
    import httpx

    from glide_nemo.crawl.download import download
    from glide_nemo.crawl.open_connections import OpenConnections

    started = time.monotonic()
    folder = draft.path / FOLDER
    folder.mkdir(exist_ok=True)
    connections = OpenConnections()
    hooks = {"request": [connections.follow]}
    with httpx.Client(timeout=config.timeout_seconds, follow_redirects=True, event_hooks=hooks) as client:
        listing = draft.path / f"{config.kind}.paths.gz"
        url = f"{config.base_url}/crawl-data/{crawl_id}/{listing.name}"
        download(client, url, listing, tries=config.tries, max_wait=config.max_wait_seconds)
        chosen = spread(_paths(listing), config.files)
        _download_all(config, client, connections, chosen, folder)
    files = [
        SourceFile(f"{FOLDER}/{name}", (folder / name).stat().st_size, file_sha256(folder / name), config.kind)
        for name in map(_name, chosen)
    ]
    size = sum(file.bytes for file in files)
    draft.metrics.update(
        source=crawl_id,
        license="unknown",
        warcs=[asdict(file) for file in files],
        paths=chosen,
        bytes=size,
    )
    draft.logs.joinpath("seconds.txt").write_text(f"{time.monotonic() - started:.1f}\n", encoding="utf-8")
    draft.summary = f"{len(files)} {config.kind.upper()} files of {crawl_id}, {size / 1e6:,.1f} MB"


def _download_all(
    config: CommonCrawlConfig, client: httpx.Client, connections: OpenConnections, chosen: list[str], folder: Path
) -> None:
    """Fetches what is missing. A failure cuts the other transfers off; a later run goes on from there."""
    from glide_nemo.crawl.download import download

    stopped = threading.Event()
    patience = {"tries": config.tries, "max_wait": config.max_wait_seconds, "stopped": stopped}
    with progress("downloading", len(chosen), "files") as advance, ThreadPoolExecutor(config.parallel) as pool:
        begun = {
            pool.submit(download, client, f"{config.base_url}/{path}", folder / _name(path), **patience): _name(path)
            for path in chosen
        }
        try:
            for done in as_completed(begun):
                done.result()
                advance(1, begun[done])
        except BaseException:
            stopped.set()
            connections.cut()
            pool.shutdown(cancel_futures=True)
            raise


def spread[Item](items: list[Item], count: int) -> list[Item]:
    """`count` items at equal distances, in order; all of them where there are no more."""
    count = min(count, len(items))
    return [items[number * len(items) // count] for number in range(count)]


def _paths(listing: Path) -> list[str]:
    """The paths that a list names. GlideError where it is broken, or names what does not lie in the crawl."""
    try:
        paths = gzip.decompress(listing.read_bytes()).decode("utf-8").split()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise GlideError(f"unreadable list of files, {listing}: delete it and run the same command again") from error
    if not paths:
        raise GlideError(f"no file in the list {listing}: pass another crawl")
    for path in paths:
        parts = PurePosixPath(path).parts
        if parts[0] != "crawl-data" or ".." in parts or "\\" in path or not path.endswith(".gz"):
            raise GlideError(f"{listing} names {path!r}, which is no file of a crawl: check base_url=")
    if len({_name(path) for path in paths}) < len(paths):
        raise GlideError(f"{listing} names two files alike: check base_url=")
    return paths


def _name(path: str) -> str:
    return PurePosixPath(path).name
