"""The crawl step: records Python's own documentation site as WARC, or takes the WARC files it is given."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from glide_nemo.artifact import Artifact, Draft, file_sha256, write_atomically
from glide_nemo.console import console, progress
from glide_nemo.crawl.kinds import WARC
from glide_nemo.crawl.sources import SourceFile, describe, describe_inputs
from glide_nemo.errors import GlideError
from glide_nemo.steps import run_step

if TYPE_CHECKING:
    from glide_nemo.crawl.record import WarcRecorder

WARC_NAME = "pydoc.warc.gz"


@dataclass
class CrawlConfig:
    """What to fetch of the documentation site and how gently."""

    modules: list[str] = field(default_factory=list)  # only these and what is in them; empty: the standard library
    max_pages: int = 0  # stop after this many; 0: no limit
    delay_seconds: float = 0.0  # pause between requests; the server is ours, other sites would want 1 or more
    page_timeout_seconds: float = 20.0  # a page that takes longer is given up and the server started again

    def check(self) -> None:
        """Raises GlideError for a value that no crawl could use."""
        if self.max_pages < 0 or self.delay_seconds < 0 or self.page_timeout_seconds <= 0:
            raise GlideError("max_pages, delay_seconds or page_timeout_seconds is below zero: choose a larger one")


def crawl(
    config: CrawlConfig,
    out: str | os.PathLike[str],
    *,
    warcs: Sequence[str | os.PathLike[str]] = (),
    inputs: Sequence[str] = (),
    force: bool = False,
) -> Artifact:
    """The crawl artifact in `out`: a WARC of the documentation site or, given `warcs` or `inputs`, those files.

    `inputs` are paths, globs, directories and fsspec URLs of files of any kind that can be read. Files given are read
    in place, never copied. A crawl that was killed goes on: pages recorded are not fetched again.

    Raises GlideError where a file is no WARC or of no kind, the server does not start, or no page could be fetched.
    """
    if inputs:
        files, left_out = describe_inputs(inputs)
        return run_step(
            "crawl", out, "crawl", {"inputs": files}, {}, lambda draft: _take(draft, files, left_out), force=force
        )
    if warcs:
        files = describe([Path(path) for path in warcs])
        return run_step("crawl", out, "crawl", {"warcs": files}, {}, lambda draft: _take(draft, files), force=force)
    config.check()
    return run_step("crawl", out, "crawl", config, {}, lambda draft: _record(config, draft), force=force)


def _take(draft: Draft, files: list[SourceFile], left_out: Sequence[str] = ()) -> None:
    """Writes down which files the crawl stands for; their content, not their place, makes its digest."""
    named = [{"name": Path(file.path).name, "bytes": file.bytes, "sha256": file.sha256} for file in files]
    write_atomically(draft.path / "sources.json", json.dumps(named, indent=1))
    total = sum(file.bytes for file in files)
    kinds = {file.kind: None for file in files}
    draft.metrics.update(
        source="warc" if list(kinds) == [WARC] else "files",
        license="unknown",
        warcs=[asdict(file) for file in files],
        left_out=list(left_out),
        bytes=total,
    )
    what = "WARC" if list(kinds) == [WARC] else " and ".join(kinds)
    skipped = f", {len(left_out)} of no kind that can be read left out" if left_out else ""
    draft.summary = f"{len(files)} {what} file{'s' * (len(files) != 1)}, {total / 1e6:,.1f} MB, read in place{skipped}"


def _record(config: CrawlConfig, draft: Draft) -> None:
    from glide_nemo.crawl.record import WarcRecorder

    started = time.monotonic()
    warc = draft.path / WARC_NAME
    with WarcRecorder(warc, "python -m pydoc") as recorder:
        failed = [] if recorder.finished else _fetch_all(config, recorder)
        if not recorder.pages:
            raise GlideError(f"no page could be fetched of `python -m pydoc`: {failed[0]['reason']}")
        recorder.finish()
    size = warc.stat().st_size
    draft.metrics.update(
        source="pydoc",
        license="PSF-2.0",  # the documentation strings of Python itself
        warcs=[asdict(SourceFile(WARC_NAME, size, file_sha256(warc)))],
        pages=len(recorder.pages),
        html_bytes=sum(map(len, recorder.pages.values())),
        failed=failed,
        bytes=size,
        seconds=round(time.monotonic() - started, 1),
    )
    given_up = f", {len(failed)} given up" if failed else ""
    draft.summary = f"{len(recorder.pages)} pages{given_up}, {size / 1e6:,.1f} MB of WARC"


def _fetch_all(config: CrawlConfig, recorder: WarcRecorder) -> list[dict[str, str]]:
    """Follows links breadth first from the index; returns the pages given up, with reasons."""
    from glide_nemo.crawl import site
    from glide_nemo.crawl.fetch import Fetcher

    if recorder.pages:
        console.print(f"  going on after {len(recorder.pages)} pages recorded before")
    limit = config.max_pages or None
    waiting = deque([site.SITE, *site.frontier(recorder.pages.items(), config.modules)])
    seen = set()
    failed = []
    with Fetcher(config.page_timeout_seconds) as fetcher, progress("crawling", limit, "pages") as advance:
        advance(len(recorder.pages))
        while waiting and not (limit and len(recorder.pages) >= limit):
            url = waiting.popleft()
            if url in seen or url in recorder.pages:
                continue
            seen.add(url)
            page, reason = fetcher.fetch(url)
            if page is None:
                failed.append({"url": url, "reason": reason})
                continue
            recorder.add(page)
            waiting += site.frontier([(url, page.body)], config.modules)
            advance(1, url.removeprefix(site.SITE))
            time.sleep(config.delay_seconds)
    return failed
