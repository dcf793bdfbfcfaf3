"""A SLURM of two nodes on this machine: the real daemons, on the loopback interface, each a process of its own."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from ray_nodes import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
NODES = ("127.0.0.2", "127.0.0.3")  # the nodes' names are their addresses: nothing needs to resolve them
CONFIG = """
ClusterName=glide
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
JobRequeue=1
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    return [name for name in PROGRAMS if shutil.which(name) is None]


class Slurm:
    """Runs from `with` to its end. `environment` is what SLURM's commands need to find it."""

    def __enter__(self) -> Slurm:
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: sockets' paths end at 107 characters
        (self.folder / "state").mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        nodes = "\n".join(f"NodeName={name} NodeAddr={name} Port={free_port()} CPUs=1" for name in NODES)
        config = self.folder / "slurm.conf"
        config.write_text(
            CONFIG.format(controller=free_port(), user=getpass.getuser(), folder=self.folder, nodes=nodes)
        )
        self.environment = {"SLURM_CONF": str(config)}
        self.processes: list[subprocess.Popen[bytes]] = []
        try:
            at = [f"--{name}={self.folder}/munge.{name.split('-')[0]}" for name in ("socket", "pid-file", "log-file",
                  "seed-file")]  # fmt: skip
            self._start("munged", "--foreground", "--force", f"--key-file={key}", *at)
            self._wait(lambda: (self.folder / "munge.socket").exists())
            self._start("slurmctld", "-D", "-f", str(config))
            for name in NODES:
                self._start("slurmd", "-D", "-N", name, "-f", str(config))
            self._wait(lambda: self.run("sinfo", "-h", "-o", "%T %D") == f"idle {len(NODES)}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *command: str, **options: object) -> str:
        """What a command of SLURM's prints, "" where it fails."""
        environment = os.environ | self.environment
        return subprocess.run(command, env=environment, capture_output=True, text=True, **options).stdout.strip()

    def wait_for_job(self, job: str, seconds: float) -> str:
        """The state that a job ends in."""
        ended = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")

        def state() -> str:
            shown = self.run("scontrol", "-o", "show", "job", job)
            return next((word.removeprefix("JobState=") for word in shown.split() if word.startswith("JobState=")), "")

        self._wait(lambda: state() in ended, seconds)
        return state()

    def _start(self, *command: str) -> None:
        with open(self.folder / f"{command[0]}.out", "ab") as log:
            self.processes.append(subprocess.Popen(command, stdout=log, stderr=log))

    def _wait(self, condition, seconds: float = 60) -> None:  # noqa: ANN001
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "\n".join(
                path.read_text(errors="replace")[-2000:] for path in self.folder.glob("*.out")
            )
            time.sleep(0.5)
