"""Processes that meet before training, as SLURM and torchrun start them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from src.errors import RankLost, UserError
from src.runtime import rendezvous
from src.runtime.job import Job
from tests.conftest import ROOT

PROLOGUE = """
import os, sys, time
from src.errors import *
from src.runtime import rendezvous
rank = int(os.environ["SLURM_PROCID"])
"""


def ranks(script: str, world_size: int = 2, **environment: str) -> list[tuple[int, str]]:
    """The exit code and the output of each rank of a job."""
    common = {
        **os.environ,
        **{"SLURM_JOB_ID": "17", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": str(world_size)},
        **{"SLURM_STEP_TASKS_PER_NODE": str(world_size), "MASTER_ADDR": "127.0.0.1", **environment},
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROLOGUE + script],
            cwd=ROOT,
            env={**common, "SLURM_PROCID": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(world_size)
    ]
    return [(process.wait(), output) for process, output in outputs(processes)]


def outputs(processes: Sequence[subprocess.Popen[str]]) -> list[tuple[subprocess.Popen[str], str]]:
    return [(process, process.communicate(timeout=120)[0]) for process in processes]


@pytest.mark.slow
def test_ranks_agree_compare_and_meet() -> None:
    script = """
met = rendezvous.join()
print(met.share(lambda: {"from": rank}), met.job_name() != "", rendezvous.join() is rendezvous.current() is met)
met.meet()
try:
    met.check_equal({"code": {"commit": "a"}, "lr": 0.1 * (rank + 1)})
except UserError as error:
    print(error)
"""
    (code0, output0), (code1, output1) = ranks(script)
    assert (code0, code1) == (0, 0), output0 + output1
    assert output0 == "{'from': 0} True True\n"
    first, second = output1.splitlines()
    assert first + "\n" == output0
    assert "it does not run what rank 0 (process" in second
    assert "lr was 0.1, is 0.2" in second and "commit" not in second


@pytest.mark.slow
def test_a_rank_that_ends_with_an_error_ends_the_others() -> None:
    script = """
met = rendezvous.join()
if rank == 1:
    print(met.leave("no such file"))
    sys.exit(2)
try:
    met.meet()
except rendezvous.Refused as refused:
    print(refused.rank, refused)
    print(met.leave("refused"))  # which no lower rank has said
"""
    assert ranks(script) == [(0, "1 no such file\nNone\n"), (2, "refused\n")]


@pytest.mark.slow
def test_a_rank_that_does_not_start_is_named() -> None:
    script = """
if rank == 2:
    sys.exit()
try:
    rendezvous.join()
except RankLost as error:
    print(error)
"""
    (_, first), (_, second), _ = ranks(script, 3, RENDEZVOUS_SECONDS="6")
    assert first.startswith("rank 2 of 3 did not start within 6 s")
    assert "rank 2 of 3 did not start" in second or "rank 0 ended" in second


@pytest.mark.slow
def test_two_jobs_with_the_same_first_port_do_not_meet() -> None:
    """And a port that another program has taken is left out."""
    ports = list(rendezvous._candidates(Job.of({"SLURM_JOB_ID": "17"})))
    script = """
rendezvous._candidates = lambda job: iter([PORTS])
met = rendezvous.join()
print(met.share(lambda: os.environ["SLURM_JOB_ID"]), os.environ["MASTER_PORT"])
met.meet()
""".replace("PORTS", ", ".join(map(str, ports)))
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", ports[0]))
        taken.listen()
        with ThreadPoolExecutor() as pool:
            jobs = [pool.submit(ranks, script, 2, SLURM_JOB_ID=name) for name in ("17", "18")]
            found = [[output.split() for _, output in job.result()] for job in jobs]
    assert [[words[0] for words in job] for job in found] == [["17", "17"], ["18", "18"]]
    used = {words[1] for job in found for words in job}
    assert len(used) == 2 and str(ports[0]) not in used


def test_an_address_that_does_not_resolve_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "no-such-host.invalid")
    with pytest.raises(UserError, match=r"MASTER_ADDR no-such-host.invalid, the address of rank 0, does not resolve"):
        rendezvous._connect(Job("SLURM", "17", tasks_per_node=(2,)))


def test_a_port_that_is_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        monkeypatch.setenv("MASTER_PORT", str(taken.getsockname()[1]))
        with pytest.raises(UserError, match=r"no port of .* is free on 127.0.0.1; set MASTER_PORT"):
            rendezvous._connect(Job("SLURM", "17", tasks_per_node=(2,)))


def test_a_first_rank_that_is_not_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "TIMEOUT_SECONDS", 0.5)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "1")
    with pytest.raises(RankLost, match=r"rank 1 does not reach rank 0 at 127.0.0.1"):
        rendezvous._connect(Job("SLURM", "17", 1, tasks_per_node=(2,)))


def test_a_process_that_is_alone_meets_no_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert rendezvous.join() is None
