"""Runs a command and watches the memory of its whole process tree."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import psutil

EVERY = 0.05  # seconds


@dataclass
class Usage:
    """What a command and its descendants took."""

    peak_bytes: int = 0  # of the sum of proportional set sizes: pages that processes share count once
    own_peak_bytes: int = 0  # of the command's own process, resident
    cpu_seconds: float = 0.0
    seconds: float = 0.0
    _cpu: dict[int, float] = field(default_factory=dict)

    def look(self, parent: psutil.Process) -> None:
        total = 0
        with contextlib.suppress(psutil.Error):
            for process in [parent, *parent.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    memory = process.memory_full_info()
                    times = process.cpu_times()
                    total += memory.pss
                    self._cpu[process.pid] = times.user + times.system
                    if process.pid == parent.pid:
                        self.own_peak_bytes = max(self.own_peak_bytes, memory.rss)
        self.peak_bytes = max(self.peak_bytes, total)
        self.cpu_seconds = sum(self._cpu.values())


def watch(command: Sequence[object], *, until: float = 600) -> Usage:
    """The usage of a command that ends well, sampled all the time; AssertionError with its output where it does not."""
    usage, started = Usage(), time.monotonic()
    with tempfile.TemporaryFile() as output:
        running = subprocess.Popen(list(map(str, command)), stdout=output, stderr=subprocess.STDOUT)
        parent = psutil.Process(running.pid)
        while running.poll() is None:
            usage.look(parent)
            if time.monotonic() - started > until:
                running.kill()
            time.sleep(EVERY)
        output.seek(0)
        assert running.returncode == 0, output.read().decode()
    usage.seconds = time.monotonic() - started
    return usage
