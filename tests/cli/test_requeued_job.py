"""The command line in a job that SLURM starts again; tests/cluster has the same on a real SLURM."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning import Callback, LightningModule, Trainer
from torch import nn

from src.runtime import job_directory
from tests.toys import last_checkpoint, logged_scalars

Run = Callable[..., None]
EXTRA = ["--trainer.max_epochs=2", "--trainer.log_every_n_steps=1", "--test_after_fit=false"]


class Stop(Callback):
    """Sends this process SIGUSR1 in a step, counted from 1."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step - 1:
            signal.raise_signal(signal.SIGUSR1)


@pytest.fixture
def job(cli: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Path]:
    """`job(restarts, ...)` runs a command in a start of job 17; returns the directory of its run."""

    def run(restarts: int, *arguments: str) -> Path:
        job_directory._chosen.clear()
        monkeypatch.setenv("SLURM_JOB_ID", "17")
        monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))
        monkeypatch.setenv("PATH", "/nowhere")  # without scontrol
        cli("fit", *arguments)
        return Path("logs/recipe/job-17")

    return run


@pytest.fixture
def recipe(tiny: list[str], cli: Run, capsys: pytest.CaptureFixture[str]) -> Path:
    with pytest.raises(SystemExit):
        cli("fit", *tiny, *EXTRA, "--print_config")
    path = Path("recipe.yaml")
    path.write_text(capsys.readouterr().out)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 5])
def test_the_unchanged_command_continues_the_run_with_its_own_configuration(
    step: int, job: Callable[..., Path], recipe: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Although the recipe has another seed and another optimizer by then."""
    command = ["--config=recipe.yaml", "--trainer.callbacks=tests.cli.test_requeued_job.Stop"]
    command.append(f"--trainer.callbacks.step={step}")
    with pytest.raises(SystemExit) as stop:
        job(0, *command)
    assert stop.value.code == 138
    content = yaml.safe_load(recipe.read_text())
    content["seed_everything"] = 5
    content["model"]["optimizer"] = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.5}}
    recipe.write_text(yaml.safe_dump(content))
    directory = job(1, *command)
    assert f"job 17, restart 1: resumes {directory}" in caplog.text
    saved = last_checkpoint(directory)
    assert (saved["global_step"], saved["config"]["seed_everything"]) == (8, 0)
    assert list(Path("logs/recipe").iterdir()) == [directory]
    # A new job with this recipe is a new run; a third start of the first one has nothing left to train.
    assert job(2, *command) == directory
    assert "nothing is left to train" in caplog.text
    assert torch.equal(last_checkpoint(directory)["state_dict"]["net.0.weight"], saved["state_dict"]["net.0.weight"])
    assert {name: len(values) for name, values in logged_scalars(directory).items()}["train/loss"] == 2


class Pretrained(nn.Sequential):
    """A network whose pretrained weights are in a file."""

    def __init__(self, pretrained: bool = False, num_classes: int = 10) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, num_classes))
        if pretrained:
            self.load_state_dict(torch.load("weights.pth"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "weights",
    [
        ["--model.init_from=source"],
        ["--model.net=tests.cli.test_requeued_job.Pretrained", "--model.net.pretrained=true"],
    ],
    ids=["init_from", "pretrained"],
)
def test_the_unchanged_command_resumes_a_run_that_began_with_given_weights(
    weights: list[str], job: Callable[..., Path], recipe: Path, cli: Run
) -> None:
    """Bit-identical with an uninterrupted run, although the weights are gone by then, and its arguments would have no
    effect on another run that is resumed."""
    torch.save(Pretrained().state_dict(), "weights.pth")
    cli("fit", "--config=recipe.yaml", "--seed_everything=3", "--trainer.default_root_dir=source")
    command = ["--config=recipe.yaml", *weights, "--data.normalize=standard", "--data.augment+=Flip"]
    cli("fit", *command, "--trainer.default_root_dir=whole")
    stop = ["--trainer.callbacks=tests.cli.test_requeued_job.Stop", "--trainer.callbacks.step=5"]
    with pytest.raises(SystemExit) as stopped:
        job(0, *command, *stop)
    assert stopped.value.code == 138
    Path("weights.pth").unlink()
    shutil.rmtree("source")
    resumed, whole = last_checkpoint(job(1, *command, *stop)), last_checkpoint(Path("whole"))
    assert resumed["global_step"] == 8 and resumed["spec"] == whole["spec"]
    torch.testing.assert_close(resumed["state_dict"], whole["state_dict"], rtol=0, atol=0)
