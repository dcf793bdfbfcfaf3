"""An HTTP server on the loopback interface that serves files with ranges, and fails in the ways that it is told to."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


class FlakyServer:
    """Serves `files` (path -> content). `faults` (path -> list) are spent one a request, before it serves as it should.

    Faults: "503"; "drop" (closes after half of what is asked for); "short" (a Content-Length of half); "slow" (one
    kilobyte every 20 ms); "corrupt" (a byte changed); "stall" (no answer until the server ends). `sent` counts the
    bytes of each path, `asked` keeps the ranges.
    """

    def __init__(self, files: dict[str, bytes], *, etags: bool = True) -> None:
        self.files = files
        self.etags = etags
        self.faults: dict[str, list[str]] = {}
        self.sent: Counter[str] = Counter()
        self.asked: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.lstrip("/")
        asked = handler.headers.get("Range", "")
        with self._lock:
            self.asked.append((path, asked))
            fault = self.faults[path].pop(0) if self.faults.get(path) else ""
        if fault == "stall":
            self._ended.wait()
            return
        content = self.files.get(path)
        if content is None or fault == "503":
            handler.send_response(503 if fault else 404)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        start = 0
        if (range_ := re.fullmatch(r"bytes=(\d+)-", asked)) and handler.headers.get("If-Range") == etag:
            start = int(range_[1])
        if start >= len(content) > 0:
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(content)}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        body = content[start:]
        if fault == "corrupt":
            body = bytes([body[0] ^ 1]) + body[1:]
        if fault == "short":
            body = body[: len(body) // 2]
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.etags:
            handler.send_header("ETag", etag)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if fault == "drop":
            body = body[: len(body) // 2]
        step = 1024 if fault == "slow" else len(body)
        try:
            for at in range(0, len(body), step or 1):
                handler.wfile.write(body[at : at + step])
                with self._lock:
                    self.sent[path] += len(body[at : at + step])
                if fault == "slow":
                    threading.Event().wait(0.02)
        except OSError:
            pass
        handler.close_connection = fault == "drop"

    def __enter__(self) -> FlakyServer:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._http.shutdown()
        self._http.server_close()
