"""Where `executor=ray` runs: the cluster that RAY_ADDRESS names, or this machine; slurm_cluster.py for SLURM."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from glide_nemo.errors import GlideError

ADDRESS, AUTH_MODE = "RAY_ADDRESS", "RAY_AUTH_MODE"
CONNECT_TIMEOUT = 10.0  # seconds


@contextlib.contextmanager
def ray_cluster(cpus: int = 0) -> Iterator[None]:
    """One Ray for all pipelines inside: the one that RAY_ADDRESS names, else this machine's own, with `cpus` CPUs.

    The latter ends with this context, and with this process if it is killed. GlideError where Ray does not come up.
    """
    if os.environ.get(ADDRESS):
        _check_cluster(os.environ[ADDRESS])
        with environment(_token_of_user()):
            yield
        return
    folder = scratch()
    token = token_in(folder / "token", new=True)
    head = subprocess.Popen(
        [sys.executable, "-m", "curator_pipelines.ray_head", str(cpus), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **token, **for_children(folder)},
        start_new_session=True,  # an interrupt from the keyboard is for this process, which then ends it
    )
    try:
        assert head.stdin and head.stdout and head.stderr
        address = head.stdout.readline().strip()
        if not address:
            reason = (head.stderr.read().strip().splitlines() or ["no reason given"])[-1]
            raise GlideError(f"Ray does not start ({reason}): run again, or use executor=local, which needs no Ray")
        with environment({**token, ADDRESS: address}):
            yield
    finally:
        head.stdin.close()
        head.wait()


def join_ray() -> None:
    """Connects this process to the running Ray, with Ray's own progress kept off the terminal. GlideError if it fails.

    Curator's executor connects again, with its own ideas of that, and finds it done.
    """
    _check_cluster(os.environ.get(ADDRESS, ""))
    import ray
    import ray.data  # sets up its loggers

    quiet_ray()
    try:
        ray.init(logging_level=logging.ERROR, log_to_driver=False, ignore_reinit_error=True)
    except Exception as error:  # Ray raises bare ones here
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise GlideError(
            f"Ray does not start ({reason}): check RAY_ADDRESS, or use executor=local, which needs no Ray"
        ) from error


def quiet_ray() -> None:
    """Ray's progress off the terminal; each connection sets the level of `ray` anew, but not of those below it."""
    for noisy in ("ray", "ray.data", "ray._private.worker"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def scratch() -> Path:
    """A new folder for Ray's files: its own default belongs to whoever came to the machine first.

    In /tmp whatever TMPDIR says, because sockets stand in it, whose paths end at 107 characters.
    """
    return Path(tempfile.mkdtemp(prefix="glide-ray-", dir="/tmp"))


def token_in(path: Path, *, new: bool) -> dict[str, str]:
    """Settings by which only who can read the file may use a Ray: any other process that reaches it could run code."""
    if new:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    return {AUTH_MODE: "token", "RAY_AUTH_TOKEN_PATH": str(path)}


def for_children(folder: Path) -> dict[str, str]:
    """Settings for Ray's Python processes: they find this package from any working directory, and start fast.

    There are a dozen of them. Where each compiles what it imports, because none may write bytecode, Ray's own limit of
    15 seconds for some of them is too short on a busy machine.
    """
    here = str(Path(__file__).resolve().parents[1])
    found = {"PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))}
    if sys.dont_write_bytecode:
        found |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    return found


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """These variables, for as long as the context lasts; Ray sees them too."""
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
        _reread_environment()


def _reread_environment() -> None:
    """Ray reads its settings once, when it is first imported, which Curator's modules do."""
    if "ray" in sys.modules:
        from ray._raylet import Config

        Config.initialize("")


def _token_of_user() -> dict[str, str]:
    """Settings by which the user's own token, if any, goes to a cluster: `ray start` asks for it, RAY_ADDRESS does not.

    A cluster without tokens takes no notice.
    """
    if AUTH_MODE in os.environ or not (Path.home() / ".ray" / "auth_token").exists():
        return {}
    return {AUTH_MODE: "token"}


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
