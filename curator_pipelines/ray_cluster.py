"""Where `executor=ray` runs: the cluster that RAY_ADDRESS names, a SLURM allocation's nodes, or this machine."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from glide_nemo.errors import GlideError

if TYPE_CHECKING:
    from nemo_curator.core.client import SlurmRayClient

ADDRESS, AUTH_MODE = "RAY_ADDRESS", "RAY_AUTH_MODE"
CONNECT_TIMEOUT = 10.0  # seconds


@contextlib.contextmanager
def ray_cluster(cpus: int = 0) -> Iterator[None]:
    """One Ray for all pipelines inside: the one that RAY_ADDRESS names, else this machine's own, with `cpus` CPUs.

    The latter ends with this context, and with this process if it is killed. GlideError where Ray does not come up.
    """
    if os.environ.get(ADDRESS):
        _check_cluster(os.environ[ADDRESS])
        with _environment(_token_of_user()):
            yield
        return
    scratch = Path(tempfile.mkdtemp(prefix="glide-ray-"))
    with _environment(_token(scratch / "token", new=True)):
        head = subprocess.Popen(
            [sys.executable, "-m", "curator_pipelines.ray_head", str(cpus)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **_for_children(scratch)},
        )
        try:
            assert head.stdin and head.stdout and head.stderr
            address = head.stdout.readline().strip()
            if not address:
                reason = (head.stderr.read().strip().splitlines() or ["no reason given"])[-1]
                raise GlideError(f"Ray does not start ({reason}): run again, or use executor=local, which needs no Ray")
            with _environment({ADDRESS: address}):
                yield
        finally:
            head.stdin.close()
            head.wait()
            shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def slurm_nodes(out: Path) -> Iterator[None]:
    """Under SLURM, all nodes of the allocation as one Ray cluster, by NeMo-Curator's SlurmRayClient.

    Every node runs the same command. The first goes on with it; the others give their CPUs to it, wait here for its
    end, and then end with status 0: only one process may write an artifact. Outside a SLURM step of several nodes,
    and where RAY_ADDRESS names a cluster, nothing is done.

    How they find each other is a file beside `out`, which the nodes share anyway. GlideError where they do not.
    """
    environment = os.environ
    if environment.get(ADDRESS) or int(environment.get("SLURM_STEP_NUM_NODES", "1")) < 2:
        yield
        return
    if int(environment.get("SLURM_LOCALID", "0")):
        raise GlideError("SLURM starts several processes on this node: one is needed, pass --ntasks-per-node=1 to srun")
    from loguru import logger
    from nemo_curator.core.client import SlurmRayClient

    logger.disable("nemo_curator")
    is_first = environment["SLURM_NODEID"] == "0"
    meeting = _meeting_place(out, environment)
    if is_first:
        meeting.mkdir(parents=True)
    # A folder of this run's, since Ray's own default belongs to whoever came to the node first.
    scratch = Path(tempfile.mkdtemp(prefix="glide-ray-"))
    settings = {
        "RAY_PORT_BROADCAST_DIR": str(meeting),
        "SLURM_JOB_NODELIST": environment["SLURM_STEP_NODELIST"],  # a step may have fewer nodes than its job
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")]),  # has `ray`
        **_token(meeting / "token", new=is_first),
        **_for_children(scratch),
    }
    try:
        with _environment(settings):
            client = SlurmRayClient(
                ray_temp_dir=str(scratch),
                include_dashboard=False,
                cleanup_on_start=False,  # it would end the Ray of every other job on this node
                ray_stdouterr_capture_file=str(scratch / "head.log"),
            )
            try:
                _start(client)
                yield
            finally:
                client.stop()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if is_first:
            shutil.rmtree(meeting, ignore_errors=True)


def _start(client: SlurmRayClient) -> None:
    """Returns on the first node when all others have joined; on the others, ends this process with the cluster."""
    try:
        client.start()
    except SystemExit:
        sys.exit(0)  # not with Ray's status on a node whose head has gone: how the run ended, the first node says
    except (TimeoutError, RuntimeError, OSError) as error:
        raise GlideError(f"the nodes of this SLURM step do not make a Ray cluster ({error}): run it again") from error


def join_ray() -> None:
    """Connects this process to the running Ray, with Ray's own progress kept off the terminal. GlideError if it fails.

    Curator's executor connects again, with its own ideas of that, and finds it done.
    """
    _check_cluster(os.environ.get(ADDRESS, ""))
    import ray
    import ray.data  # sets up its loggers

    for noisy in ("ray", "ray.data", "ray._private.worker"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        ray.init(logging_level=logging.ERROR, log_to_driver=False, ignore_reinit_error=True)
    except Exception as error:  # Ray raises bare ones here
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise GlideError(
            f"Ray does not start ({reason}): check RAY_ADDRESS, or use executor=local, which needs no Ray"
        ) from error


def _meeting_place(out: Path, environment: Mapping[str, str]) -> Path:
    """A folder that this launch alone has: what a killed one left behind names a port where no one listens."""
    launch = [environment[f"SLURM_{name}"] for name in ("JOB_ID", "STEP_ID")]
    launch.append(environment.get("SLURM_RESTART_COUNT", "0"))
    out = out.resolve()
    return out.with_name(f".{out.name}.ray-{'-'.join(launch)}")


def _token(path: Path, *, new: bool) -> dict[str, str]:
    """Settings by which only who can read the file may use a Ray: any other process that reaches it could run code."""
    if new:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    return {AUTH_MODE: "token", "RAY_AUTH_TOKEN_PATH": str(path)}


def _token_of_user() -> dict[str, str]:
    """Settings by which the user's own token, if any, goes to a cluster: `ray start` asks for it, RAY_ADDRESS does not.

    A cluster without tokens takes no notice.
    """
    if AUTH_MODE in os.environ or not (Path.home() / ".ray" / "auth_token").exists():
        return {}
    return {AUTH_MODE: "token"}


def _for_children(scratch: Path) -> dict[str, str]:
    """Settings for Ray's Python processes: they find this package from any working directory, and start fast.

    There are a dozen of them. Where each compiles what it imports, because none may write bytecode, Ray's own limit of
    15 seconds for some of them is too short on a busy machine.
    """
    here = str(Path(__file__).resolve().parents[1])
    found = {"PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))}
    if sys.dont_write_bytecode:
        found |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(scratch / "bytecode")}
    return found


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    _reread_environment()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _reread_environment() -> None:
    """Ray reads its settings once, when it is first imported, which Curator's modules do."""
    if "ray" in sys.modules:
        from ray._raylet import Config

        Config.initialize("")


def _check_cluster(address: str) -> None:
    """GlideError where no one listens at `HOST:PORT`: Ray would end this process from C++, with a log for a reason."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # empty, `local` or `auto`
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT).close()
    except OSError as error:
        raise GlideError(
            f"no Ray cluster at RAY_ADDRESS={address} ({error.strerror or error}): start it, or unset RAY_ADDRESS"
        ) from error
