"""Where the processes that SLURM or torchrun has started meet before Lightning connects them: they agree on the run
directory, compare what they run, and learn that one of them has refused to start.

Rank 0 serves a TCPStore at MASTER_ADDR and MASTER_PORT, which the process group uses, too; under torchrun its agent
serves the store where they meet, and rank 0 that of the process group. Without MASTER_PORT it is the first free port of
a few that follow from the job, and the store holds the name of the job, so that the processes of two jobs on one node
never meet.
"""

from __future__ import annotations

import json
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import uuid4
from zlib import crc32

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from torch import distributed
from torch.distributed import PrefixStore, TCPStore  # pyright: ignore[reportPrivateImportUsage]

from src.errors import RankLost, UserError
from src.runtime.job import Job
from src.runtime.ranks import process_name
from src.runtime.run_directory import diff

# How long to wait for the other processes to start, which import torch from the same file system at the same time.
TIMEOUT_SECONDS = float(os.environ.get("RENDEZVOUS_SECONDS", "300"))
PORTS = range(20_000, 30_000)  # below those that systems give out by themselves
NUM_CANDIDATES = 8
CONNECT_SECONDS = 2  # for one try
_AGENT = "TORCHELASTIC_USE_AGENT_STORE"  # whether torchrun's agent serves the store at MASTER_ADDR and MASTER_PORT


class Refused(Exception):
    """Another process has ended before training, and prints why."""

    def __init__(self, rank: int, text: str) -> None:
        super().__init__(text)
        self.rank = rank


class Rendezvous:
    """The processes of a job, which call each method together."""

    def __init__(self, job: Job) -> None:
        self.rank, self.world_size = job.rank, job.world_size
        self.name = process_name(job.rank)
        self._counter = count()
        self._job_store = _connect(job)
        self._store = PrefixStore(f"{job.restarts}", self._job_store)
        self._store.set(f"name/{self.rank}", self.name)
        self._wait([f"name/{rank}" for rank in range(self.world_size)], TIMEOUT_SECONDS)
        if os.environ.get(_AGENT) == "True":
            self._serve_process_group()

    def _serve_process_group(self) -> None:
        """Lets rank 0 serve the store of the process group: torchrun's agent keeps the addresses of an earlier start in
        its own, where torch 2.15 takes them for those of the new processes."""
        if self.rank == 0:
            self._group_store = TCPStore(
                os.environ["MASTER_ADDR"], 0, None, True, wait_for_workers=False, multi_tenant=True
            )
        os.environ["MASTER_PORT"] = str(self.share(lambda: self._group_store.port))
        os.environ[_AGENT] = "False"

    def share(self, make: Callable[[], Any]) -> Any:
        """What `make` returns in rank 0, a JSON value, which the others wait for."""
        key = f"shared/{next(self._counter)}"
        if self.rank == 0:
            self._store.set(key, json.dumps(make()))
        self._wait([key])
        return json.loads(self._store.get(key))

    def job_name(self) -> str:
        """A name for a job that has none, the same after a restart by torchrun, whose agent keeps the store."""
        if self.rank == 0 and not self._job_store.check(["name"]):
            self._job_store.set("name", uuid4().hex[:8])
        return self.share(lambda: self._job_store.get("name").decode())

    def check_equal(self, value: dict[str, Any]) -> None:
        """Raises UserError, in the ranks with another value than that of rank 0, with what differs."""
        if differences := diff(self.share(lambda: value), json.loads(json.dumps(value))):
            more = f", and {len(differences) - 3} more" if len(differences) > 3 else ""
            first = self._store.get("name/0").decode()
            raise UserError(
                f"it does not run what {first} runs: {'; '.join(differences[:3])}{more}. All ranks need the "
                "same command, code and environment"
            )

    def meet(self) -> None:
        """Waits until all ranks are here. Raises Refused if one of them has ended instead."""
        key = f"met/{next(self._counter)}"
        self._store.set(f"{key}/{self.rank}", "")
        self._wait([f"{key}/{rank}" for rank in range(self.world_size)])

    def leave(self, text: str) -> Refused | None:
        """Tells the others that this process ends with an error; returns the error of a lower rank, if there is one
        within a few seconds."""
        with suppress(distributed.DistError, RuntimeError):  # rank 0 is gone, and its store
            self._store.set(f"ended/{self.rank}", text)
            if distributed.is_initialized() and distributed.get_backend() == "gloo":
                distributed.destroy_process_group()  # those that wait for this rank fail now, and look here
            self._store.set("ended", "")
            end = time.monotonic() + 5
            every = [f"ended/{rank}" for rank in range(self.world_size)]
            while time.monotonic() < end:
                # The store of rank 0 has to last until all others have ended, too.
                if (first := self.refusal()) and first.rank < self.rank:
                    return first
                if self._store.check(every):
                    break
                time.sleep(0.05)
        return None

    def refusal(self) -> Refused | None:
        """The error of the lowest rank that has ended."""
        with suppress(distributed.DistError, RuntimeError):
            if self._store.check(["ended"]):
                rank = next(rank for rank in range(self.world_size) if self._store.check([f"ended/{rank}"]))
                return Refused(rank, self._store.get(f"ended/{rank}").decode())
        return None

    def _wait(self, keys: list[str], timeout: float = math.inf) -> None:
        end = time.monotonic() + timeout
        pause = 0.005
        try:
            while missing := [key for key in keys if not self._store.check([key])]:
                if refusal := self.refusal():
                    raise refusal
                if time.monotonic() > end:
                    ranks = ", ".join(key.rpartition("/")[2] for key in missing)
                    raise RankLost(
                        f"rank {ranks} of {self.world_size} did not start within {timeout:.0f} s; see its output, or "
                        "whether its node is down (RENDEZVOUS_SECONDS sets how long to wait)"
                    )
                time.sleep(pause)
                pause = min(0.1, 2 * pause)
        except (distributed.DistError, RuntimeError) as error:
            raise RankLost("rank 0 ended before training; see its output") from error


_current: Rendezvous | None = None


def join() -> Rendezvous | None:
    """Meets the other processes of the job, once; None where no launcher has started others. Raises UserError if the
    address of rank 0 does not resolve, RankLost if a rank does not start in time."""
    global _current
    job = Job.of()
    if not _current and job.launcher != "Lightning" and job.world_size > 1:
        _current = Rendezvous(job)
    return _current


def current() -> Rendezvous | None:
    """What `join` has returned."""
    return _current


def _connect(job: Job) -> TCPStore:
    address = os.environ.get("MASTER_ADDR") or SLURMEnvironment.resolve_root_node_address(
        os.environ.get("SLURM_STEP_NODELIST", "127.0.0.1")
    )
    os.environ["MASTER_ADDR"] = address
    try:
        socket.getaddrinfo(address, None)
    except OSError as error:
        raise UserError(
            f"MASTER_ADDR {address}, the address of rank 0, does not resolve on {socket.gethostname()}: "
            f"{error.strerror}; set MASTER_ADDR to the name or IP address of the first node"
        ) from error
    served = os.environ.get(_AGENT) == "True"
    ports = [int(os.environ["MASTER_PORT"])] if "MASTER_PORT" in os.environ else list(_candidates(job))
    end = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < end:
        for port in ports:
            with suppress(distributed.DistError, RuntimeError):  # the port is taken, or nothing serves it yet
                store = _open(address, port, serve=job.rank == 0 and not served)
                if served or _is_of(store, job):
                    os.environ["MASTER_PORT"] = str(port)
                    return store
        time.sleep(0.1)
        if job.rank == 0 and not served:
            break
    if job.rank == 0:
        raise UserError(f"no port of {', '.join(map(str, ports))} is free on {address}; set MASTER_PORT to one that is")
    raise RankLost(
        f"rank {job.rank} does not reach rank 0 at {address} within {TIMEOUT_SECONDS:.0f} s; see the output of rank 0, "
        "and whether MASTER_ADDR is its address and the network lets the nodes connect to it"
    )


def _open(address: str, port: int, serve: bool) -> TCPStore:
    """Raises RuntimeError if the port is taken, or nothing or another program serves it."""
    opened: list[TCPStore] = []

    def connect() -> None:
        with suppress(distributed.DistError, RuntimeError, OSError):
            if not serve:  # torch logs each try that fails
                socket.create_connection((address, port), CONNECT_SECONDS).close()
            # The process group serves its own store at the same port; with multi_tenant both share one.
            seconds = timedelta(seconds=TIMEOUT_SECONDS if serve else CONNECT_SECONDS)
            opened.append(TCPStore(address, port, None, serve, seconds, wait_for_workers=False, multi_tenant=True))

    # A program of another kind may accept the connection and never answer, for which torch has no timeout.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(2 * CONNECT_SECONDS)
    if not opened:
        raise RuntimeError(f"no store at {address}:{port}")
    return opened[0]


def _is_of(store: TCPStore, job: Job) -> bool:
    """Whether a store is that of this job."""
    token = f"{job.name} {os.environ.get('SLURM_STEP_ID')} {job.restarts}"
    if job.rank == 0:
        store.set("job", token)
    return store.check(["job"]) and store.get("job").decode() == token


def _candidates(job: Job) -> Iterator[int]:
    for number in range(NUM_CANDIDATES):
        yield PORTS[crc32(f"{job.name} {job.restarts} {number}".encode()) % len(PORTS)]
