"""Names of run directories, and how a job that starts again finds its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.runtime import job_directory
from src.runtime.job_directory import choose
from tests.conftest import ROOT


def start(logs: Path, environ: dict[str, str], recipe: str = "a", given: str | None = None) -> tuple[Path, bool]:
    """What a new process chooses, relative to `logs`."""
    job_directory._chosen.clear()
    chosen = choose(recipe, given, logs, environ)
    return chosen.path.relative_to(logs), chosen.interrupted


def job(restarts: int = 0, **variables: str) -> dict[str, str]:
    return {"SLURM_JOB_ID": "17", "SLURM_RESTART_COUNT": str(restarts) if restarts else "", **variables}


@pytest.mark.parametrize("environ", [{}, {"SLURM_JOB_NAME": "bash"}])
def test_a_new_run_is_named_after_recipe_and_time(environ: dict[str, str], tmp_path: Path) -> None:
    path, interrupted = start(tmp_path, environ, "cifar10")
    assert path.parent == Path("cifar10") and not interrupted
    assert len(path.name) == len("2026-01-31_23-59-59")


@pytest.mark.parametrize(
    "environ, name",
    [
        ({"SLURM_JOB_ID": "17"}, "job-17"),
        ({"SLURM_JOB_ID": "17", "SLURM_STEP_ID": "0"}, "job-17"),
        ({"SLURM_JOB_ID": "17", "SLURM_STEP_ID": "2"}, "job-17.2"),
        ({"SLURM_JOB_ID": "19", "SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "0"}, "job-17_0"),
        ({"TORCHELASTIC_RUN_ID": "17"}, "job-17"),
        ({"TORCHELASTIC_RUN_ID": "../a b"}, "job-.._a_b"),
        ({"TORCHELASTIC_RUN_ID": "none", "SLURM_JOB_ID": "17"}, "job-17"),
    ],
)
def test_a_new_run_of_a_job_is_named_after_the_job(tmp_path: Path, environ: dict[str, str], name: str) -> None:
    assert start(tmp_path, environ) == (Path("a") / name, False)


def test_the_runs_of_a_job_have_numbers_and_are_found_again_in_their_order(tmp_path: Path) -> None:
    names = ["job-17", "job-17_2", "job-17_3"]
    assert [start(tmp_path, job()) for _ in names] == [(Path("a") / name, False) for name in names]
    for restarts in (1, 2):
        assert [start(tmp_path, job(restarts)) for _ in names] == [(Path("a") / name, True) for name in names]
    assert start(tmp_path, job(2)) == (Path("a/job-17_4"), False)


def test_a_job_takes_up_no_run_of_another_job_and_none_of_another_recipe(tmp_path: Path) -> None:
    start(tmp_path, job())
    assert start(tmp_path, {**job(1), "SLURM_JOB_ID": "18"}) == (Path("a/job-18"), False)
    assert start(tmp_path, job(1), "b") == (Path("b/job-17"), False)
    # A directory without a claim, as of an older version.
    (tmp_path / "a/job-20").mkdir()
    assert start(tmp_path, {**job(1), "SLURM_JOB_ID": "20"}) == (Path("a/job-20_2"), False)


def test_a_restart_by_torchrun_within_a_restart_by_slurm_is_a_later_one(tmp_path: Path) -> None:
    inner = {"TORCHELASTIC_RUN_ID": "17", "TORCHELASTIC_RESTART_COUNT": "3"}
    start(tmp_path, {**job(), **inner})
    assert start(tmp_path, {**job(1), **inner, "TORCHELASTIC_RESTART_COUNT": "0"}) == (Path("a/job-17"), True)


def test_a_directory_of_the_users_is_taken_up_by_the_job_that_claimed_it(tmp_path: Path) -> None:
    own = str(tmp_path / "own")
    assert start(tmp_path, job(), given=own) == (Path("own"), False)
    assert not Path(own).exists()  # it is created, and claimed, when training starts
    Path(own).mkdir()
    assert job_directory._chosen[own].claim()
    assert not job_directory._chosen[own].claim()
    assert start(tmp_path, {**job(), "SLURM_JOB_ID": "18"}, given=own) == (Path("own"), False)
    assert start(tmp_path, job(1), given=own) == (Path("own"), True)


def test_a_process_that_chooses_again_by_the_path_has_the_same_answer(tmp_path: Path) -> None:
    start(tmp_path, job())
    job_directory._chosen.clear()
    chosen = choose("a", None, tmp_path, job(1))
    assert chosen.interrupted and choose("python", str(chosen.path), tmp_path, job(1)) is chosen


def test_an_interrupted_run_is_resumable_from_its_first_checkpoint_on(tmp_path: Path) -> None:
    start(tmp_path, job())
    (tmp_path / "a/job-17/checkpoints").mkdir()
    (tmp_path / "a/job-17/checkpoints/last.ckpt").touch()
    job_directory._chosen.clear()
    assert choose("a", None, tmp_path, job(1)).resumable
    assert not choose("b", None, tmp_path, job(1)).resumable


CHOOSE = """
import os, sys, pathlib, time
from src.runtime import job_directory
start = time.time() + 0.5
children = []
for _ in range(8):
    if child := os.fork():
        children.append(child)
        continue
    time.sleep(max(0, start - time.time()))  # all at once
    chosen = job_directory.choose("recipe", None, pathlib.Path(sys.argv[1]))
    (chosen.path / f"file{int(chosen.interrupted)}").touch(exist_ok=False)
    os._exit(0)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


@pytest.mark.slow
def test_eight_processes_at_once_have_directories_of_their_own(tmp_path: Path) -> None:
    for environ in ({}, job(), job(1)):
        subprocess.run(
            [sys.executable, "-c", CHOOSE, str(tmp_path)], cwd=ROOT, env={**os.environ, **environ}, check=True
        )
    assert len(list(tmp_path.glob("recipe/2*/file0"))) == 8
    assert len(list(tmp_path.glob("recipe/job-17*/file0"))) == 8
    assert len(list(tmp_path.glob("recipe/job-17*/file1"))) == 8  # each is taken up by one


def test_a_process_that_lightning_started_uses_the_directory_of_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("RUN_DIRECTORY", "RUN_INTERRUPTED"):
        monkeypatch.setenv(variable, "")
    start(tmp_path, job())
    job_directory._chosen.clear()
    choose("a", None, tmp_path, job(1)).export_to_children()
    child = choose("a", None, tmp_path, {**os.environ, "LOCAL_RANK": "1"})
    assert (child.path, child.interrupted) == (tmp_path / "a/job-17", True)
    earlier = {"RUN_DIRECTORY": str(tmp_path / "x")}  # of an earlier run in the process that starts this one
    assert start(tmp_path, earlier) != (Path("x"), False)
    torchrun = {"TORCHELASTIC_RUN_ID": "18", "LOCAL_RANK": "0", "RANK": "0"}
    assert start(tmp_path, {**earlier, **torchrun}) == (Path("a/job-18"), False)
