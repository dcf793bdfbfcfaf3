"""The connections of an HTTP client, to cut off from another thread: closing one would leave its reader waiting."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from typing import Any

import httpx

# Of httpcore's trace: what returns a stream that was not there before.
OPENED = ("connection.connect_tcp.complete", "connection.start_tls.complete")


class OpenConnections:
    """Follows the connections of every request it is told of, `httpx.Client(event_hooks={"request": [it.follow]})`."""

    def __init__(self) -> None:
        self._streams: list[Any] = []
        self._cut = False

    def follow(self, request: httpx.Request) -> None:
        """An event hook of httpx."""
        request.extensions["trace"] = self._seen

    def cut(self) -> None:
        """Ends every connection, and each that is opened from now on, as if the server had."""
        self._cut = True
        for stream in list(self._streams):
            with contextlib.suppress(OSError):  # closed meanwhile, or replaced by its encrypted form
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def _seen(self, event: str, info: Mapping[str, Any]) -> None:
        if event in OPENED:
            self._streams.append(info["return_value"])
            if self._cut:
                self.cut()
