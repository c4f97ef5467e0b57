"""`python -m src sweep`: killed where its trials are and started again, it ends as the undisturbed one.

The short form runs with `make sweep`; `KILLS=10` kills at all places, in a sweep of 20 trials.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from src.cli.overview import answer
from tests.cli.test_study import CALLBACKS
from tests.conftest import ROOT, TINY
from tests.documents import blocks, project_copy, run_steps
from tests.kills import CALLBACK, hold_at, kill
from tests.test_docs import SHORT
from tests.toys import last_checkpoint

pytestmark = pytest.mark.sweep

# A place, see tests/kills.py, and what is killed there.
KILLS = [
    *(("step 2", "both"), ("saving 2", "both"), ("validation 1", "both"), ("between", "both"), ("step 3", "SIGTERM")),
    *(
        ("validation 2", "SIGINT"),
        ("saving 1", "both"),
        ("between", "SIGTERM"),
        ("step 1", "study"),
        ("saving 1", "run"),
    ),
][: int(os.environ.get("KILLS", "3"))]
TRIALS = 20 if len(KILLS) > 3 else 6

SPACE = """
model.optimizer: [torch.optim.SGD, torch.optim.Adam]
model.optimizer.lr: {low: 1e-4, high: 0.1, log: true}
data.batch_size: {low: 12, high: 24, step: 6}
"""
# A dataset whose test set cannot be read.
DATA = """
from src.data import ImageSet, Shapes

class Untested(Shapes):
    def read(self, subset: str) -> ImageSet:
        assert subset == "train", f"{subset} is read"
        return super().read(subset)
"""
ENDED = "is (?:finished|pruned)"
ARGUMENTS = [
    *("--config", "recipe.yaml", "--space", "space.yaml", "--name", "found", "--seed", "1"),
    *("--sampler", "TPESampler", "n_startup_trials=3", "--pruner", "MedianPruner", "n_startup_trials=2"),
    *("--data=untested.Untested", *TINY[1:], "--trainer.max_epochs=3"),
    *("--trainer.default_callbacks.checkpoints.every_n_steps=2",),
    *(f"--trainer.default_callbacks.{name}=null" for name in CALLBACKS if name != "hyperparameters"),
    CALLBACK,
]


def start(folder: Path, *more: str) -> subprocess.Popen[bytes]:
    """Starts a sweep in `folder`, where `src` is that of the project."""
    folder.mkdir(exist_ok=True)
    (folder / "recipe.yaml").write_text("seed_everything: 3\n")
    (folder / "space.yaml").write_text(SPACE)
    (folder / "untested.py").write_text(DATA)
    command = [sys.executable, "-m", "src", "sweep", *ARGUMENTS, "--trials", str(TRIALS), *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{folder}"}
    with (folder / "sweep.txt").open("ab") as output:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)


def finish(folder: Path, *more: str) -> Path:
    assert start(folder, *more).wait(1200) == 0, (folder / "sweep.txt").read_text()
    return folder / "logs/found"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a sweep."""
    return finish(tmp_path_factory.mktemp("sweep") / "undisturbed")


def outcome(run: Path) -> list[object]:
    saved = last_checkpoint(run)
    return [saved["state_dict"], saved["optimizer_states"], saved["global_step"]]


def test_a_killed_sweep_ends_as_the_undisturbed_one(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    for place, how in KILLS:
        folder.mkdir(exist_ok=True)
        hold_at(folder, place)
        kill(start(folder), folder, place, how, folder / "sweep.txt", ENDED)
        print(f"  {how} at {place}: {len(re.findall(ENDED, (folder / 'sweep.txt').read_text()))} trials have ended")
    found = finish(folder)
    for name in ("sweep.md", "best.yaml"):
        assert (found / name).read_text() == (undisturbed / name).read_text()
    complete = re.findall(r"^\| (\d+) \| complete", (found / "sweep.md").read_text(), re.MULTILINE)
    assert complete
    for number in complete:
        run = f"trial-{int(number):03}"
        torch.testing.assert_close(outcome(found / run), outcome(undisturbed / run), rtol=0, atol=0)
    resumed = len(re.findall(r"trial-.* resumes", (folder / "sweep.txt").read_text()))
    print(f"  {resumed} times resumed, {len(complete)} of {TRIALS} trials complete, the others pruned")


def test_the_test_set_is_not_read_and_the_best_trial_is_a_recipe(undisturbed: Path) -> None:
    text = (undisturbed / "sweep.md").read_text()
    assert "| pruned after epoch" in text and text.count("| complete |") >= 2
    for run in undisturbed.glob("trial-*"):
        assert "test" not in json.loads((run / "results.json").read_text())
    best = undisturbed / "best.yaml"
    assert "TrialPruning" not in best.read_text()
    number = int(re.findall(r"The best trial is (\d+)", text)[0])
    command = [sys.executable, "-m", "src", "fit", f"--config={best}", "--trainer.default_root_dir=again"]
    folder = undisturbed.parents[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{folder}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "AssertionError: test is read" in done.stderr, done.stderr
    run = undisturbed / f"trial-{number:03}"
    torch.testing.assert_close(outcome(folder / "again"), outcome(run), rtol=0, atol=0)


def test_trials_are_runs_with_their_hyperparameters(undisturbed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(["runs", "--logs", str(undisturbed.parent), "--sort", "val/acc", "--format", "csv"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert len(rows) == TRIALS and "model.optimizer.lr" in header and "data.batch_size" in header
    for number in range(TRIALS):
        run = undisturbed / f"trial-{number:03}"
        events = b"".join(path.read_bytes() for path in (run / "hparams").glob("events*"))
        assert b"model.optimizer.lr" in events and b"values/acc_best_val" in events


def test_more_trials_and_several_workers(undisturbed: Path) -> None:
    folder = undisturbed.parents[1]
    workers = [start(folder, "--trials", str(TRIALS + 3)) for _ in range(2)]
    assert [worker.wait(600) for worker in workers] == [0, 0]
    lines = (folder / "sweep.txt").read_text()
    assert [lines.count(f"trial-{number:03} starts") for number in range(TRIALS + 4)] == [1] * (TRIALS + 3) + [0]
    assert (undisturbed / "best.yaml").read_text().startswith(f"# The best of {TRIALS + 3} trials")


def test_two_ranks_are_pruned_together(tmp_path: Path) -> None:
    ranks = ["--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=24"]
    pruner = ["--pruner", "ThresholdPruner", "lower=2", "--trials", "1"]
    text = (finish(tmp_path / "ranks", *ranks, *pruner) / "sweep.md").read_text()
    assert "| 0 | pruned after epoch 1 |" in text


def test_the_documented_sweep_runs(tmp_path: Path) -> None:
    found = [block for block in blocks((ROOT / "docs/studies.md").read_text())]
    space = next(block for block in found if block.file == "my_space.yaml")
    commands = [one for block in found for one in block.commands if one.startswith("python -m src sweep")]
    project_copy(tmp_path)
    (tmp_path / "my_space.yaml").write_text(space.text)
    run_steps(tmp_path, [("src", [*one.split()[3:], "--trials", "1", *SHORT, "--name", "x"]) for one in commands[:1]])
    assert (tmp_path / "logs/x/best.yaml").is_file()


@pytest.mark.parametrize(
    ("space", "arguments", "words"),
    [
        ("model.net.widht: [3]", [], "space.yaml: model.net (src.models.SimpleCNN): Option 'widht' is not accepted"),
        ("modle.x: [3]", [], "space.yaml: "),
        ("a: 3", [], "space.yaml: a 3 is not a list of choices, or {low"),
        ("a: {low: 3, high: 1}", [], "is not a list of choices"),
        ("a: {low: 3, hihg: 1}", [], "is not a list of choices"),
        ("- a", [], "space.yaml is not a file of configuration keys"),
        ("a: [", [], "space.yaml is not YAML"),
        ("a: [1]", ["--config", "no.yaml"], "--config no.yaml is not a file"),
        ("a: [1]", ["--space", "no.yaml"], "--space no.yaml is not a file of"),
        ("a: [1]", ["--trials", "0"], "--trials 0 must be at least 1"),
        ("a: [1]", ["--sampler", "TPESamplr"], "--sampler TPESamplr does not exist in optuna.samplers; did you mean"),
        ("a: [1]", ["--pruner", "MedianPruner", "x=1"], "--pruner MedianPruner x=1: "),
    ],
)
def test_mistakes_are_one_paragraph_and_write_nothing(
    space: str, arguments: list[str], words: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "recipe.yaml").write_text("seed_everything: 3\n")
    (tmp_path / "space.yaml").write_text(space)
    given = ["--config", "recipe.yaml", "--space", "space.yaml", "--trials", "3", *TINY, *arguments]
    assert words in refused("sweep", *given)
