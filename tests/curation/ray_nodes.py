"""Ray nodes on this machine, each a process of its own, and the Ray processes that run."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil

RAY = str(Path(sys.executable).with_name("ray"))
NAMES = ("raylet", "gcs_server")
SESSION = "GLIDE_TEST_SESSION"  # a variable that all its processes have
os.environ.setdefault(SESSION, secrets.token_hex(8))
STARTING = 150  # seconds
ATTEMPTS = 3


def ray_processes() -> set[int]:
    """Those that this test session started, on a machine where others may run Ray too."""
    found = set()
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error):
            if process.info["name"] in NAMES and process.environ().get(SESSION) == os.environ[SESSION]:
                found.add(process.pid)
    return found


def no_ray_is_left(seconds: float = 30) -> bool:
    """A process that was told to end takes its time."""
    deadline = time.monotonic() + seconds
    while ray_processes() and time.monotonic() < deadline:
        time.sleep(0.5)
    return not ray_processes()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Nodes:
    """A head and what joins it, of one CPU each, on the loopback interface, with a token of their own.

    Their working directory is `folder`, so that it is not that of a run, as on another machine.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "token").write_text(secrets.token_hex(32))
        self.folder = folder
        self.port = free_port()
        self.environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
            "PYTHONDONTWRITEBYTECODE": "",  # Ray gives its own processes 15 seconds to start, compiling included
            "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Nodes:
        try:
            self._start("--head", "--port", str(self.port), "--include-dashboard=false")
            self._start("--address", f"127.0.0.1:{self.port}")
        except BaseException:
            self.__exit__()
            raise
        self.environment["RAY_ADDRESS"] = f"127.0.0.1:{self.port}"
        return self

    def __exit__(self, *raised: object) -> None:
        for process in reversed(self.processes):
            end(process)

    def _start(self, *arguments: str) -> None:
        command = [RAY, "start", *arguments, "--block", "--node-ip-address=127.0.0.1", "--num-cpus=1",
                   "--object-store-memory=100000000", "--disable-usage-stats"]  # fmt: skip
        path = self.folder / "node.log"
        for _ in range(ATTEMPTS):
            with open(path, "wb") as log:
                process = subprocess.Popen(
                    command, cwd=self.folder, env=os.environ | self.environment, stdout=log, stderr=log
                )
            self.processes.append(process)
            deadline = time.monotonic() + STARTING
            while process.poll() is None and time.monotonic() < deadline:
                if "--block" in path.read_text(errors="replace"):  # which it explains when it is up
                    return
                time.sleep(0.5)
            end(process)
            self.processes.remove(process)
        raise AssertionError(path.read_text(errors="replace"))


def end(process: subprocess.Popen[bytes], *, kill: bool = False) -> None:
    """Ends a node's process and all that it started, by their ids; with `kill` at once."""
    with contextlib.suppress(psutil.NoSuchProcess):
        group = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for one in group:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        for one in psutil.wait_procs(group, timeout=20)[1]:
            one.kill()
    process.wait()
