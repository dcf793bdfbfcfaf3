"""Python's own documentation server as a child process that can hang, die or be killed, and never outlives us."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import threading
from types import TracebackType

from glide_nemo.errors import GlideError

START_TIMEOUT = 60.0  # seconds; pydoc answers in well under one, a cold disk may take several
READY = re.compile(r"Server ready at http://[^:/]+:(\d+)/")

# Run first in the child, which then becomes the documentation server. On Linux it asks to be killed with its parent (a
# `preexec_fn` is not safe in a process that has threads); elsewhere the pipe on standard input does that: pydoc stops
# when it ends, unless a page hangs.
LAUNCH = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""

# -P and -S: neither the working directory nor what is installed in this environment is part of the site.
PYDOC = ["-P", "-s", "-S", "-u", "-m", "pydoc", "-p", "0"]

# Nothing of the user's environment: pydoc prints `os.environ` on its page of `os`. The fixed hash seed makes it print
# sets in the same order each time.
ENVIRONMENT = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "LANG": "C.UTF-8", "TZ": "UTC", "PATH": os.defpath}


class PydocServer:
    """`python -m pydoc` on a free port of the loopback interface, started on entry and stopped on exit."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts the server and waits until it listens. GlideError where it does not."""
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", LAUNCH, *PYDOC],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # modules warn of their deprecation when their page is rendered
            cwd="/",  # pydoc lists the modules of its working directory
            env=ENVIRONMENT,
            text=True,
        )
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_drain, args=(self._process, lines), daemon=True).start()
        said = ""
        try:
            while not (ready := READY.search(said)):
                said = lines.get(timeout=START_TIMEOUT)
                if not said:
                    raise queue.Empty
        except queue.Empty:
            self.stop()
            raise GlideError(
                f"Python's documentation server does not start, {sys.executable} -m pydoc: "
                "run `python -m pydoc -p 0` to see why, or pass --warc FILE"
            ) from None
        self.port = int(ready[1])

    def stop(self) -> None:
        """Ends the server whatever it is doing. A page under way is lost."""
        if self._process is None:
            return
        self._process.kill()  # asking it politely would wait for the page that hangs
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def __enter__(self) -> PydocServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _drain(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    """Reads what the server says so that it never blocks on a full pipe; an empty line marks its end."""
    assert process.stdout
    try:
        for line in process.stdout:
            lines.put(line)
    except ValueError:  # closed by stop()
        pass
    lines.put("")
