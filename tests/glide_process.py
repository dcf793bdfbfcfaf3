"""Runs `glide` as a process of its own, to be killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

GLIDE = "import sys; from glide_nemo.cli import main; sys.exit(main())"


def start(*arguments: object, first: str = "", **options: Any) -> subprocess.Popen[bytes]:
    """`glide ARGUMENTS` in the background; `first` is Python that runs before it, `options` are Popen's."""
    command = [sys.executable, "-c", f"{first}\n{GLIDE}", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"ended with {process.returncode} before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the process alone; its children must see to themselves, which they have 15 seconds for."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, left = psutil.wait_procs(children, timeout=15)
    for child in left:
        child.kill()
    assert not left, f"outlived the process that started them: {left}"


def files_in(folder: Path, pattern: str) -> int:
    return len(list(folder.glob(pattern)))
