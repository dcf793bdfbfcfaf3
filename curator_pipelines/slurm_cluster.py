"""The nodes of a SLURM allocation as one Ray cluster, by NeMo-Curator's SlurmRayClient."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import psutil

from curator_pipelines.ray_cluster import ADDRESS, environment, for_children, quiet_ray, scratch, token_in
from glide_nemo.errors import GlideError

if TYPE_CHECKING:
    from nemo_curator.core.client import SlurmRayClient

POLL = 1.0  # seconds


@contextlib.contextmanager
def slurm_nodes(out: Path) -> Iterator[None]:
    """In a SLURM step of several nodes, one Ray cluster of them all; elsewhere, and under RAY_ADDRESS, nothing.

    Every node runs the same command. The first goes on with it; the others give their CPUs to it, wait here for its
    end, and then end with status 0: only one process may write an artifact. How they find each other is a folder
    beside `out`, which the nodes share anyway. GlideError where they do not.
    """
    slurm = os.environ
    if slurm.get(ADDRESS) or int(slurm.get("SLURM_STEP_NUM_NODES", "1")) < 2:
        yield
        return
    if int(slurm["SLURM_LOCALID"]):
        raise GlideError("SLURM starts several processes on this node: one is needed, pass --ntasks-per-node=1 to srun")
    is_first = slurm["SLURM_NODEID"] == "0"
    meeting, folder = _meeting_place(out, slurm), scratch()
    if is_first:
        meeting.mkdir(parents=True, exist_ok=True)  # the others make it too, to look into it
    settings = {
        "RAY_PORT_BROADCAST_DIR": str(meeting),
        "SLURM_JOB_NODELIST": slurm["SLURM_STEP_NODELIST"],  # a step may have fewer nodes than its job
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), slurm.get("PATH", "")]),  # has `ray`
        **token_in(meeting / "token", new=is_first),
        **for_children(folder),
    }
    try:
        with environment(settings):
            if is_first:
                with _head(folder, meeting):
                    yield
            else:
                _work(folder, meeting / "token")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _head(folder: Path, meeting: Path) -> Iterator[None]:
    """Begins when all nodes have joined."""
    client = _client(folder)
    try:
        _start(client)
        yield
    finally:
        shutil.rmtree(meeting, ignore_errors=True)  # the others' sign to end
        _quiet()  # a curation ends with Curator's log on again
        client.stop()
        shutil.rmtree(meeting, ignore_errors=True)  # `stop` makes it anew


def _work(folder: Path, token: Path) -> NoReturn:
    """Works for the first node until its `token` is gone, then ends this process.

    Left to itself, Ray looks for a head that has gone for a minute, then fails and prints all that it knows. How the
    run ended, the first node says.
    """

    def watch() -> None:
        while not token.exists():
            time.sleep(POLL)
        while token.exists():
            time.sleep(POLL)
        for child in psutil.Process().children():
            child.terminate()

    threading.Thread(target=watch, daemon=True).start()
    with contextlib.suppress(SystemExit), _output_to(folder / "worker.log"):
        _start(_client(folder))
    sys.exit(0)


def _client(folder: Path) -> SlurmRayClient:
    from nemo_curator.core.client import SlurmRayClient

    _quiet()
    return SlurmRayClient(
        ray_temp_dir=str(folder),
        include_dashboard=False,
        cleanup_on_start=False,  # it would end the Ray of every other job on this node
        ray_stdouterr_capture_file=str(folder / "head.log"),
    )


def _start(client: SlurmRayClient) -> None:
    try:
        client.start()
    except (TimeoutError, RuntimeError, OSError) as error:
        raise GlideError(f"the nodes of this SLURM step do not make a Ray cluster ({error}): run it again") from error


def _quiet() -> None:
    from loguru import logger

    logger.disable("nemo_curator")
    quiet_ray()


def _meeting_place(out: Path, slurm: Mapping[str, str]) -> Path:
    """A folder that this launch alone has: what a killed one left behind names a port where no one listens."""
    out = out.resolve()
    launch = [slurm["SLURM_JOB_ID"], slurm["SLURM_STEP_ID"], slurm.get("SLURM_RESTART_COUNT", "0")]
    return out.with_name(f".{out.name}.ray-{'-'.join(launch)}")


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """What this process's children print goes to a file."""
    kept = os.dup(1), os.dup(2)
    with open(path, "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        for number, copy in enumerate(kept, start=1):
            os.dup2(copy, number)
            os.close(copy)
