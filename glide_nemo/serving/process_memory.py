"""How much memory a server takes at most: its process and all that it started, looked at while it works."""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType
from urllib.parse import urlsplit

import psutil

INTERVAL = 0.1  # seconds between looks


class PeakMemory:
    """Samples the resident memory of a process and its children; `peak` in bytes, None without a process."""

    def __init__(self, pid: int | None) -> None:
        self.peak: int | None = None
        self._pid = pid
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while self._pid is not None:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(self._pid)
                now = sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))
                self.peak = max(self.peak or 0, now)
            if self._done.wait(INTERVAL):
                return


def listening_on(url: str) -> int | None:
    """The process of this machine that listens on an address, None where it is another's or hidden from us."""
    parts = urlsplit(url)
    if parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        return None
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == (parts.port or 80):
                return connection.pid
    return None
