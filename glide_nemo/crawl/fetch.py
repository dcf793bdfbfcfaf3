"""Asks the documentation server for one page at a time, and starts it again where a page hangs or kills it."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

import httpx

import glide_nemo
from glide_nemo.crawl.server import PydocServer
from glide_nemo.crawl.site import HOST, SITE

USER_AGENT = f"GLiDE/{glide_nemo.__version__} (one request at a time; records WARC)"
TRIES = 2  # a page that hangs or kills the server twice is given up


@dataclass(frozen=True)
class Page:
    """A fetched page as it came: the response, its undecoded body, and the address it goes by."""

    url: str
    response: httpx.Response
    body: bytes


class Fetcher:
    """A documentation server of our own and a connection to it."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout = timeout_seconds
        self._server = PydocServer()
        self._client = httpx.Client(timeout=timeout_seconds, trust_env=False)  # never through a proxy

    def fetch(self, url: str) -> tuple[Page | None, str]:
        """The page, or None and the reason why there is none."""
        reason = ""
        for _ in range(TRIES):
            try:
                return self._ask(url), ""
            except httpx.TimeoutException:
                reason = f"no answer in {self._timeout:g} s"
            except httpx.HTTPError as error:
                reason = str(error) or type(error).__name__
            self._server.restart()
        return None, reason

    def _ask(self, url: str) -> Page:
        request = self._client.build_request(
            "GET",
            url.replace(SITE, f"http://127.0.0.1:{self._server.port}/", 1),
            headers={"Host": HOST, "User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
        )
        response = self._client.send(request, stream=True)
        try:
            body = b"".join(response.iter_raw())
        finally:
            response.close()
        # HTTP/1.0 without a length ends where the connection does: a server that dies looks like a short page.
        if not body.rstrip().endswith(b"</html>"):
            raise httpx.RemoteProtocolError("the page ends before its </html>")
        return Page(url, response, body)

    def __enter__(self) -> Fetcher:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self._server.stop()
