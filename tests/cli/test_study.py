"""`python -m src study`: killed where its runs are and started again, it ends as the undisturbed one.

The short form runs with the other tests; `make kill` kills at all places.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from src.cli.overview import answer
from src.cli.study import parse_seeds
from tests.conftest import ROOT, TINY
from tests.kills import CALLBACK, hold_at, kill
from tests.toys import last_checkpoint

# A place, see tests/kills.py, and what is killed there.
KILLS = [
    *(("step 2", "both"), ("saving 3", "both"), ("step 3", "SIGTERM"), ("between", "both"), ("test 1", "both")),
    *(("saving 1", "run"), ("test 1", "SIGINT"), ("step 1", "both"), ("between", "SIGTERM"), ("test 1", "study")),
][: int(os.environ.get("KILLS", "3"))]

RECIPE = "model:\n  optimizer:\n    class_path: torch.optim.{}\n    init_args: {{lr: 0.01}}\n"
CALLBACKS = ("training_health", "hyperparameters", "text", "model_summary")
ARGUMENTS = [
    *("--seeds", f"0..{len(KILLS) // 4}", "--name", "kills", CALLBACK),
    *(*TINY, "--trainer.max_epochs=3", "--trainer.default_callbacks.checkpoints.every_n_steps=1"),
    *(f"--trainer.default_callbacks.{name}=null" for name in CALLBACKS),
]


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Starts a study of two recipes in `folder`, where `src` is that of the project."""
    for name in ("SGD", "Adam"):
        (folder / f"{name}.yaml").write_text(RECIPE.format(name))
    command = [sys.executable, "-m", "src", "study", "--config", "SGD.yaml", "Adam.yaml", *ARGUMENTS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with (folder / "study.txt").open("ab") as output:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)


def finish(folder: Path) -> None:
    assert start(folder).wait(600) == 0, (folder / "study.txt").read_text()


def outcome(directory: Path) -> list[object]:
    """What a run has trained and predicted."""
    saved = last_checkpoint(directory)
    predicted = (directory / "test_predictions.csv").read_text()
    return [saved["state_dict"], saved["optimizer_states"], saved["global_step"], list(predicted.encode())]


@pytest.mark.slow
def test_a_killed_study_ends_as_the_undisturbed_one(tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    for folder in (undisturbed, killed):
        folder.mkdir()
    finish(undisturbed)
    for place, how in KILLS:
        hold_at(killed, place)
        kill(start(killed), killed, place, how, killed / "study.txt", "is finished")
        finished = len(list(killed.glob("logs/kills/*/.finished")))
        print(f"  {how} at {place}: {finished} runs are finished")
    finish(killed)
    expected, found = (folder / "logs/kills" for folder in (undisturbed, killed))
    assert (found / "study.md").read_text() == (expected / "study.md").read_text()
    runs = sorted(path.parent.name for path in expected.glob("*/.finished"))
    assert len(runs) == 2 * (len(KILLS) // 4 + 1)
    for run in runs:
        torch.testing.assert_close(outcome(found / run), outcome(expected / run), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config", "nowhere.yaml"], "--config nowhere.yaml is not a file"),
        (["--config", "a/x.yaml", "b/x.yaml"], "have the same name"),
        (["--config", "x.yaml", "--folds", "1"], "--folds 1 must be at least 2"),
        (["--config", "x.yaml", "--processes", "-1"], "--processes -1 must be at least 0"),
        (["--config", "x.yaml", "--name", "../x"], "--name ../x must be the name of a folder in logs, without slashes"),
        (["--config", "x.yaml", "--member", "1"], r"--member 1 is outside [0, 1)"),
    ],
)
def test_bad_arguments_are_one_paragraph_and_write_nothing(
    arguments: list[str], words: str, refused: Callable[..., str]
) -> None:
    assert words in refused("study", *arguments)


def test_a_report_needs_no_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text("model: {}\n")
    assert answer(["study", "--config", "x.yaml", "--seeds", "0..2", "--processes", "0"]) == 0
    assert "| x | 0 of 3 | missing |" in (tmp_path / "logs/study_x/study.md").read_text()


@pytest.mark.parametrize(("text", "seeds"), [("0..3", [0, 1, 2, 3]), ("7", [7]), ("0,5,2", [0, 5, 2])])
def test_seeds(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["3..1", "1,1", "a", "-1", ""])
def test_wrong_seeds(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        parse_seeds(text)
