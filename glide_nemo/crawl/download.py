"""Fetches large files over HTTP: goes on where it was cut off, tries again where a server fails, proves the result."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from glide_nemo.console import console
from glide_nemo.errors import GlideError

if TYPE_CHECKING:
    import tenacity

BLOCK = 1 << 18
RETRIED = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses that another time may not be
FIRST_WAIT = 0.5  # seconds, doubled each time, with jitter
TOLD_WAIT = 2.0  # seconds from which a wait is told of
MD5 = re.compile(r'"([0-9a-f]{32})"')  # what S3 gives as ETag of a file that was uploaded in one part
LAST_MEMBER = 1 << 20  # bytes from the end in which the last gzip member is looked for first
LARGEST_MEMBER = 1 << 26


class Failed(Exception):
    """A transfer that another try may complete: what went wrong."""


def download(
    client: httpx.Client,
    url: str,
    path: Path,
    *,
    tries: int,
    max_wait: float = 60.0,
    stopped: threading.Event | None = None,
) -> None:
    """The file of a URL at `path`, whole and verified: by length, by ETag where that is a digest, as gzip by its end.

    What an earlier call or an earlier try has is not asked for again, as long as the server has the same file. `tries`
    counts those that brought nothing; one that was cut off after some bytes is not one of them. Between tries it waits
    up to `max_wait` seconds, and no longer once `stopped` is set. GlideError where the server refuses, or the tries are
    used up.
    """
    import tenacity

    if path.exists():
        return
    partial = path.with_name(f".{path.name}.partial")
    progress = {"size": _size(partial), "idle": 0}

    def used_up(state: tenacity.RetryCallState) -> bool:
        size = _size(partial)
        progress["idle"] = progress["idle"] + 1 if size <= progress["size"] else 0
        progress["size"] = max(size, progress["size"])
        given_up = stopped is not None and stopped.is_set()
        return given_up or progress["idle"] >= tries or state.attempt_number >= tries * 100

    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type((Failed, httpx.TransportError)),
        stop=used_up,
        wait=tenacity.wait_random_exponential(multiplier=FIRST_WAIT, max=max_wait),
        sleep=tenacity.sleep_using_event(stopped or threading.Event()),
        before_sleep=lambda state: _tell(url, state),
        reraise=True,
    )
    try:
        attempts(_transfer, client, url, partial)
    except (Failed, httpx.HTTPError) as error:
        reason = str(error) or type(error).__name__
        raise GlideError(f"cannot download {url} ({reason}): run the same command again, it goes on") from error
    _tag_of(partial).unlink(missing_ok=True)
    os.replace(partial, path)


def _tell(url: str, state: tenacity.RetryCallState) -> None:
    """Says what went wrong where the wait for another try is long enough to wonder."""
    wait = state.next_action.sleep if state.next_action else 0.0
    if wait >= TOLD_WAIT:
        error = state.outcome.exception() if state.outcome else None
        reason = str(error) or type(error).__name__
        console.print(f"[dim]  {url}: {reason}, tried again in {wait:.0f} s[/dim]")


def _transfer(client: httpx.Client, url: str, partial: Path) -> None:
    """One request for what is missing, and the proof of the whole. Failed where there is more to do."""
    tag = _tag_of(partial)
    have = _size(partial)
    known = tag.read_text(encoding="utf-8") if tag.exists() else ""
    headers = {"Accept-Encoding": "identity"}
    if have and known:
        headers |= {"Range": f"bytes={have}-", "If-Range": known}
    with client.stream("GET", url, headers=headers) as response:
        status = response.status_code
        if status in RETRIED:
            raise Failed(f"HTTP status {status}")
        total, etag = _length(response), response.headers.get("ETag", "")
        if status == 416 and have != total:  # it is another file now
            partial.unlink(missing_ok=True)
            raise Failed("the server has no such range")
        if status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            partial.unlink(missing_ok=True)
            raise Failed("the server sent another range")
        if status not in (200, 206, 416):
            raise GlideError(f"cannot download {url}, HTTP status {status}: check the crawl's name and base_url=")
        if status != 416:  # else all of it is here: a kill came before the proof
            with open(partial, "ab" if status == 206 else "wb") as file:
                tag.write_text(_validator(response), encoding="utf-8")
                for block in response.iter_raw():  # as it comes: larger blocks would be lost with the connection
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
    size = partial.stat().st_size
    if total is not None and size < total:
        raise Failed(f"cut off after {size} of {total} bytes")
    problem = _wrong(partial, size, total, etag)
    if problem:
        partial.unlink()
        raise Failed(problem)


def _validator(response: httpx.Response) -> str:
    """What a later request names the file's version by (RFC 9110, 13.1.5): a strong ETag, or its date."""
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _length(response: httpx.Response) -> int | None:
    """The length of the whole file, where the server says it."""
    whole = response.headers.get("Content-Range", "").rpartition("/")[2]
    if response.status_code == 200:
        whole = response.headers.get("Content-Length", "")
    return int(whole) if whole.isdigit() else None


def _wrong(path: Path, size: int, total: int | None, etag: str) -> str:
    if total is not None and size > total:
        return f"{size} bytes came instead of {total}"
    if digest := MD5.fullmatch(etag):
        with open(path, "rb") as file:
            if hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() != digest[1]:
                return "its digest is not the one that the server states"
    return "" if ends_with_a_whole_member(path) else "it does not end with a whole gzip member"


def ends_with_a_whole_member(path: Path) -> bool:
    """Whether a gzip file's last member unpacks, with its checksum, up to the very end of the file."""
    size = path.stat().st_size
    reach = LAST_MEMBER
    while True:
        with open(path, "rb") as file:
            file.seek(max(0, size - reach))
            tail = file.read()
        at = tail.rfind(b"\x1f\x8b\x08")
        while at >= 0:
            if _is_whole_member(tail[at:]):
                return True
            at = tail.rfind(b"\x1f\x8b\x08", 0, at)
        if reach >= min(size, LARGEST_MEMBER):
            return False
        reach *= 8


def _is_whole_member(content: bytes) -> bool:
    member = zlib.decompressobj(wbits=31)
    try:
        while content and not member.eof:
            member.decompress(content, BLOCK * 16)
            content = member.unconsumed_tail
    except zlib.error:
        return False
    return member.eof and not member.unused_data.strip(b"\0")


def _tag_of(partial: Path) -> Path:
    """Where the validator of what was fetched so far lies."""
    return partial.with_name(f"{partial.name.removesuffix('.partial')}.etag.partial")
