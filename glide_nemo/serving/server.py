"""A runtime's own server as a child process: started, waited for, told what signals we get, and never outliving us."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from glide_nemo.console import console
from glide_nemo.errors import GlideError
from glide_nemo.serving.runtimes import Command

START_SECONDS = 600.0  # that loading may take: 3b from a cold disk takes one minute, vLLM's import another
STOP_SECONDS = 10.0  # that a server told to stop is given
LOOPBACK = ("127.0.0.1", "localhost", "::1")

# Run first in the child, which then becomes the server. On Linux it asks to be killed with its parent (a `preexec_fn`
# is not safe in a process that has threads).
LAUNCH = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Server:
    """A server under way: where its API and its chat page answer, and what it wrote."""

    page = ""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self.process, self.url, self._log = process, url, log

    @property
    def pid(self) -> int:
        return self.process.pid

    def last_words(self) -> str:
        """The line of the log that says what went wrong: the last that names an error, else the last one."""
        lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        named = [line for line in lines if "error" in line.lower()]
        return (named or lines or ["it said nothing"])[-1][-300:]

    def ended(self) -> GlideError:
        """What to say of a server that ended without being told to."""
        return GlideError(f"the server ended with status {self.process.returncode}, {self.url}: {self.last_words()}")

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        """Waits for /health to answer 200. GlideError where the server ends before, or takes longer."""
        import httpx

        started = said = time.monotonic()
        with httpx.Client(timeout=5.0, trust_env=False) as client:
            while time.monotonic() - started < seconds:
                if self.process.poll() is not None:
                    raise self.ended()
                with contextlib.suppress(httpx.HTTPError):
                    if client.get(f"{self.url}/health").status_code == 200:
                        return
                if time.monotonic() - said > 10.0:
                    said = time.monotonic()
                    console.print(f"  loading, {said - started:.0f} s")
                time.sleep(0.05)
        raise GlideError(f"the server is not ready after {seconds:.0f} s, {self.url}: {self.last_words()}")

    def stop(self) -> None:
        """Asks the server to end, and after STOP_SECONDS makes it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Ends the server and all that it started, which has no other process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def started(command: Command, url: str, log: Path) -> Iterator[Server]:
    """Starts a server, which writes to `log`, and stops it on leaving. It is not waited for."""
    # A session of its own: Ctrl-C at the terminal reaches us, and the server once, through us.
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", LAUNCH, *command.words], stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, env=os.environ | command.environment, start_new_session=True,
        )  # fmt: skip
    server = Server(process, url, log)
    try:
        yield server
    finally:
        server.stop()


def free_port(host: str, port: int) -> int:
    """`port` if nothing listens on it, or with 0 one that is free. GlideError where it is taken or not ours to use."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, OverflowError) as error:
        raise GlideError(f"no such address, --host {host} --port {port} ({error}): pass one of this machine") from error
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: past connections do not matter
        try:
            probe.bind(address)
        except (OSError, OverflowError) as error:
            what = error.strerror if isinstance(error, OSError) else error
            raise GlideError(f"cannot listen on {host} port {port} ({what}): pass another --port or --host") from error
        return probe.getsockname()[1]
