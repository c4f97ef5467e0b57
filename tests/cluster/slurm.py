"""A SLURM of two nodes on this machine, bound to the loopback interface: real daemons, which need neither root's
configuration nor systemd."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.conftest import ROOT

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SlurmdParameters=config_overrides
SlurmctldParameters=preempt_send_user_signal
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
SlurmdTimeout=10
KillWait=5
InactiveLimit=0
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=0
NodeName=node[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{node1}-{node2}] CPUs=4
PartitionName=low Nodes=node[1-2] Default=YES GraceTime=30 PriorityTier=1 State=UP
PartitionName=high Nodes=node[1-2] GraceTime=0 PriorityTier=10 PreemptMode=OFF State=UP
"""


def _free_ports(count: int) -> int:
    """The first of some successive free ports."""
    for first in range(21000, 32000, 10):
        sockets = [socket.socket() for _ in range(count)]
        try:
            for port, own in enumerate(sockets, first):
                own.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
        finally:
            for own in sockets:
                own.close()
    raise AssertionError("no free ports")


def _up_to_slurmstepd(pid: int) -> list[int]:
    """A process and its ancestors up to the step daemon that has started it."""
    pids = [pid]
    while pid > 1 and Path(f"/proc/{pid}/comm").read_text().strip() != "slurmstepd":
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        pids.append(pid)
    return pids


def wait_until(done: Callable[[], object], seconds: float, what: str) -> None:
    """Waits until `done` returns something true; an error says what did not happen."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"after {seconds:.0f} s: {what}"
        time.sleep(0.1)


class Slurm:
    """The daemons, and the commands of a user."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SLURM_")},
            "SLURM_CONF": str(folder / "slurm.conf"),
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin",
            "MASTER_ADDR": "127.0.0.1",  # the names of the nodes do not resolve
        }
        first = _free_ports(3)
        text = CONFIGURATION.format(
            folder=folder,
            host=socket.gethostname().split(".")[0],
            user="root" if os.getuid() == 0 else os.environ["USER"],
            controller=first,
            node1=first + 1,
            node2=first + 2,
        )
        (folder / "slurm.conf").write_text(text)
        (folder / "state").mkdir()
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        self.folder.chmod(0o755)
        munge = {name: f"{self.folder}/munge.{name}" for name in ("socket", "key", "pid", "log", "seed")}
        files = [
            f"--{option}={path}"
            for option, path in zip(
                ("socket", "key-file", "pid-file", "log-file", "seed-file"), munge.values(), strict=True
            )
        ]
        self._start("munged", "munged", "--foreground", "--force", *files)
        wait_until(Path(munge["socket"]).exists, 10, "munged has no socket")
        self._start("slurmctld", "slurmctld", "-D", "-c")
        self.start_node("node1")
        self.start_node("node2")
        wait_until(
            lambda: self.run("sinfo", "-h", "-t", "idle", "-o", "%D", "-p", "low") == "2", 30, "nodes are not idle"
        )

    def start_node(self, name: str) -> None:
        (self.folder / f"spool-{name}").mkdir(exist_ok=True)
        self._start(name, "slurmd", "-D", "-N", name)

    def _start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.out").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def lose_node(self, name: str) -> None:
        """Freezes a node with all that runs on it: as after a power failure, nothing answers and no connection ends."""
        self._frozen = [self._daemons.pop(name)]
        pids = [self._frozen[0].pid]
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if f"SLURMD_NODENAME={name}" in environ.read_text(errors="replace").split("\0"):
                    pids += _up_to_slurmstepd(int(environ.parent.name))
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        self._frozen_pids = pids

    def repair_node(self, name: str) -> None:
        """Starts a frozen node again, on which nothing runs."""
        for pid in self._frozen_pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._frozen.pop().wait()
        self.start_node(name)

    def stop(self) -> None:
        self.run("scancel", "--user", self.environment.get("USER", "root"), "--signal=KILL")
        for name in reversed(self._daemons):
            self._daemons[name].terminate()
        for daemon in self._daemons.values():
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def run(self, *command: str) -> str:
        """Runs a command of SLURM's, and returns what it prints."""
        done = subprocess.run(command, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    def sbatch(self, script: str, *options: str, folder: Path = ROOT, **environment: str) -> str:
        """Submits a batch script from a folder; returns the id of the job."""
        done = subprocess.run(
            ["sbatch", "--parsable", *options],
            input=script,
            env={**self.environment, **environment},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def show(self, job: str) -> dict[str, str]:
        """The entries of `scontrol show job`."""
        words = self.run("scontrol", "show", "job", "-o", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def state(self, job: str) -> str:
        return self.show(job).get("JobState", "")

    def wait(self, job: str, seconds: float = 120) -> str:
        """Waits until a job has ended; returns its last state."""
        ended = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY")
        wait_until(lambda: self.state(job) in ended, seconds, f"job {job} is {self.show(job)}")
        return self.state(job)

    @staticmethod
    def missing_programs() -> list[str]:
        """What this machine lacks of it."""
        path = f"{os.environ['PATH']}:/usr/sbin"
        return [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name, path=path)]
