"""The command line: the files it writes, the lines it prints, and its errors."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import yaml
from lightning.pytorch.cli import LightningCLI
from torch import nn

from src.errors import UserError
from src.runtime import run_directory
from tests.conftest import ROOT, TINY_WITH_IMAGES
from tests.recipes import FINETUNE, RECIPES

Run = Callable[..., None]
Fails = Callable[..., str]


def weights(directory: str, name: str = "last.ckpt") -> dict[str, torch.Tensor]:
    return torch.load(Path(directory) / "checkpoints" / name, weights_only=True)["state_dict"]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# Runs


def test_fit_writes_a_run_directory(cli: Run, tmp_path: Path) -> None:
    cli("fit", *TINY_WITH_IMAGES, "--trainer.default_root_dir=logs/a/b")
    names = {path.name.split(".tfevents")[0] for path in (tmp_path / "logs/a/b").iterdir()}
    files = {"config.yaml", "manifest.json", "results.json", "checkpoints", "events.out", "preview.png"}
    assert files <= names
    assert {path.name for path in (tmp_path / "logs/a/b/checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


def test_a_run_directory_is_named_by_recipe_and_time(cli: Run, tiny: list[str], tmp_path: Path) -> None:
    recipe = tmp_path / "my_recipe.yaml"
    recipe.write_text("seed_everything: 3\n")
    cli("fit", f"--config={recipe}", *tiny, "--test_after_fit=false")
    (run,) = (tmp_path / "logs" / "my_recipe").iterdir()
    assert yaml.safe_load((run / "config.yaml").read_text())["seed_everything"] == 3


def test_testing_a_run_again_has_the_same_result(cli: Run, fitted: Path, tmp_path: Path) -> None:
    results = tmp_path / "logs/a/b/results.json"
    first = json.loads(results.read_text())
    cli("test", "--run=a/b", "--trainer.limit_test_batches=1")
    cli("test", "--run=a/b")
    second = json.loads(results.read_text())
    short, same = second.pop("evaluations")
    assert second == first
    assert same.pop("time") >= short["time"]
    assert same.pop("data")["test"]["images"] == 40
    assert same == {"differs": [], **first["test"]}
    assert short["differs"] == ["trainer.limit_test_batches was None, is 1"]


def test_an_evaluation_can_write_into_another_directory(cli: Run, fitted: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "logs").rglob("*")}
    for command in ("test", "predict"):
        cli(command, "--run=a/b", "--trainer.default_root_dir=other")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "logs").rglob("*")} == before
    assert {"results.json", "predictions.csv"} <= {path.name for path in (tmp_path / "other").iterdir()}
    (evaluation,) = json.loads((tmp_path / "other/results.json").read_text())["evaluations"]
    assert evaluation["checkpoint"] == "logs/a/b/checkpoints/best.ckpt"


def test_an_evaluation_names_its_checkpoint(cli: Run, fitted: Path, caplog: pytest.LogCaptureFixture) -> None:
    cli("test", "--run=a/b")
    assert "weights of logs/a/b/checkpoints/best.ckpt: epoch 0, step 4" in caplog.text
    Path("logs/a/b/checkpoints/best.ckpt").unlink()
    for command in ("test", "validate", "predict"):
        caplog.clear()
        cli(command, "--run=a/b")
        assert "weights of logs/a/b/checkpoints/last.ckpt, as there is no best.ckpt: epoch 1, step 4" in caplog.text


def test_a_run_that_is_being_written_is_not_resumed(fails: Fails, fitted: Path, tmp_path: Path) -> None:

    def resume_elsewhere() -> None:
        resumed = [sys.executable, "-m", "src", "fit", f"--resume={tmp_path / 'logs/a/b'}", "--trainer.max_epochs=3"]
        done = subprocess.run(resumed, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
        outcomes.append((done.returncode, f"being written by process {os.getpid()}" in done.stderr))

    outcomes: list[tuple[int, bool]] = []
    with run_directory.held(tmp_path / "logs/a/b"):
        resume_elsewhere()
    resume_elsewhere()
    assert outcomes == [(2, True), (0, False)]


def test_resuming_a_finished_run_keeps_its_configuration(cli: Run, fitted: Path) -> None:
    before = (fitted / "config.yaml").read_text()
    cli("fit", "--resume=a/b", "--trainer.log_every_n_steps=3", "--test_after_fit=false")
    assert (fitted / "config.yaml").read_text() == before


def test_validating_a_run_has_the_validation_accuracy_of_its_best_weights(
    cli: Run, fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = json.loads((tmp_path / "logs/a/b/results.json").read_text())["fit"]["best"]["val/acc"]
    capsys.readouterr()
    cli("validate", "--run=a")
    assert str(best)[:5] in capsys.readouterr().out


def test_predictions_are_one_row_per_image_in_order(cli: Run, fitted: Path, tmp_path: Path) -> None:
    cli("predict", "--run=a/b")
    rows = list(csv.DictReader((tmp_path / "logs/a/b/predictions.csv").read_text().splitlines()))
    assert [int(row["index"]) for row in rows] == list(range(40))
    assert sum(float(rows[0][name]) for name in rows[0] if name.startswith("p(")) == pytest.approx(1, abs=1e-4)
    right = sum(row["true"] == row["predicted"] for row in rows) / 40
    assert right == json.loads((tmp_path / "logs/a/b/results.json").read_text())["test"]["test/acc"]


# Resuming


def test_resuming_prints_what_differs(cli: Run, fitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    cli("fit", "--resume=a", "--trainer.max_epochs=2", "--test_after_fit=false")
    text = capsys.readouterr()
    assert "trainer.max_epochs was 1, is 2" in text.err + text.out


def test_a_resumed_run_keeps_its_optimizer_and_its_schedule(cli: Run, fails: Fails, tiny: list[str]) -> None:
    schedule = ["--model.lr_scheduler=src.optim.WarmupDecay", "--trainer.default_root_dir=logs/a/b"]
    cli("fit", *tiny, *schedule, "--test_after_fit=false")
    for change in (
        "--model.optimizer.init_args.lr=0.0",
        "--model.optimizer=torch.optim.SGD",
        "--model.lr_scheduler=null",
        "--model.lr_scheduler.init_args.warmup=0.5",
        "--model.lr_interval=epoch",
    ):
        text = fails("fit", "--resume=a/b", "--trainer.max_epochs=2", change)
        assert "a resumed run keeps its optimizer and learning-rate schedule" in text
        assert "model.init_from" in text


def test_initial_weights_of_another_run(cli: Run, fitted: Path, tiny: list[str]) -> None:
    rest = ["--model.optimizer.init_args.lr=0.0", "--trainer.default_root_dir=logs/c/d", "--test_after_fit=false"]
    cli("fit", *tiny, "--model.init_from=a@last", *rest)
    assert same(weights("logs/c/d"), weights("logs/a/b"))


# Paths, and arguments that would have no effect


def test_the_home_folder_in_every_path(cli: Run, tiny: list[str], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "recipe.yaml").write_text("trainer: {default_root_dir: ~/run}")
    cli("fit", "--config=~/recipe.yaml", *tiny, "--test_after_fit=false")
    cli("fit", "--resume=~/run", "--trainer.max_epochs=2", "--test_after_fit=false")
    cli("validate", "--run=~/run")
    weights_of_run = ["--model.init_from=~/run@last", "--trainer.default_root_dir=~/other", "--test_after_fit=false"]
    cli("fit", *tiny, *weights_of_run)
    cli("test", *tiny, "--ckpt_path=~/run/checkpoints/last.ckpt", "--trainer.default_root_dir=~/test")
    assert {path.name for path in (tmp_path / "home").iterdir()} == {"recipe.yaml", "run", "other", "test"}
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fit", "--resume=a", "--trainer.default_root_dir=B"], "--resume continues in logs/a/b"),
        (["fit", "--resume=a", "--ckpt_path=logs/a/b/checkpoints/last.ckpt"], "--ckpt_path has no effect"),
        (["fit", "--resume=a", "--model.init_from=a"], "model.init_from is for a new run"),
        (["test", "--run=a", "--model.init_from=a"], "model.init_from is for a new run"),
        (["test", "--run=a", "--data.normalize=unit"], "data.normalize belongs to the model"),
        (["fit", "--resume=a", "--data.init_args.normalize=unit"], "data.normalize belongs to the model"),
        (["test", "--run=a", "--data.seed=3"], "data.seed is taken from seed_everything"),
        (["test", "--run=a", "--data.augment+=Flip"], "data.augment is of the training"),
        (["validate", "--run=a", "--data.init_args.balanced=true"], "data.balanced is of the training"),
        (["predict", "--run=a", "--model.optimizer.lr=1"], "model.optimizer is of the training"),
        (
            ["fit", "--resume=a", "--model.net=torchvision.models.resnet18", "--model.net.weights=DEFAULT"],
            "model.net.weights is for a new run",
        ),
    ],
)
def test_an_argument_without_effect_is_refused(arguments: list[str], words: str, fails: Fails, fitted: Path) -> None:
    assert words in fails(*arguments)


# Configurations


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid(recipe: Path, cli: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli("fit", f"--config={recipe}", "--print_config")
    assert stop.value.code == 0
    assert "class_path: src.data" in capsys.readouterr().out


@pytest.mark.parametrize("recipe", [*RECIPES, FINETUNE], ids=lambda path: path.stem)
def test_every_recipe_names_result_time_and_command(recipe: Path) -> None:
    head = [line for line in recipe.read_text().splitlines() if line.startswith("#")]
    assert all(any(line.startswith(f"#   {word}") for line in head) for word in ("result", "time", "command"))
    assert any(f"--config configs/{recipe.relative_to(ROOT / 'configs')}" in line for line in head)


@pytest.mark.parametrize(
    "net",
    [
        ["torchvision.models.shufflenet_v2_x0_5", "num_classes=10"],  # a default that is a class
        [
            "torchvision.models.swin_transformer.SwinTransformer",
            *("patch_size=[4,4]", "embed_dim=8", "depths=[1,1]", "num_heads=[1,1]", "window_size=[2,2]"),
            "num_classes=10",
        ],
        ["tests.cli.test_command_line.normalized"],  # a partial
        ["tests.cli.test_command_line.sized", "dict_kwargs.features=3"],  # not in the signature
    ],
    ids=lambda net: net[0].rpartition(".")[2],
)
def test_networks_whose_arguments_are_no_plain_values(net: list[str], cli: Run, tiny: list[str]) -> None:
    plain = [argument for argument in tiny if not argument.startswith("--model.net")]
    given = [f"--model.net={net[0]}", *(f"--model.net.{argument}" for argument in net[1:]), "--data.image_size=32"]
    cli("fit", *plain, *given, "--trainer.default_root_dir=logs/a/b", "--trainer.limit_train_batches=1")
    cli("validate", "--run=a")


NORM = partial(nn.BatchNorm2d, 3, eps=0.1)


def normalized(norm: Callable[[], nn.Module] = NORM) -> nn.Module:
    return nn.Sequential(norm(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))


def sized(**kwargs: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(kwargs["features"], 10))


def test_help_shows_arguments_with_their_docstrings(cli: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli("fit", "--help")
    text = " ".join(capsys.readouterr().out.split())
    for name, words in {
        "--model.label_smoothing": "fraction of the target that is spread over all classes",
        "--model.init_from": "whose weights training starts from",
        "--trainer.test_checkpoint": "the weights that are tested",
        "--trainer.max_epochs": "Stop training once this number of epochs is reached",
        "--resume": "the run to resume in its own directory",
        "--seed_everything": "Seed of the initial weights",
    }.items():
        assert name in text
        assert words in text
    assert "ARG:" not in text


def test_lightning_still_reads_hyperparameters_from_a_checkpoint(monkeypatch: pytest.MonkeyPatch, cli: Run) -> None:
    """`CLI._parse_ckpt_path` overrides a private method; if Lightning stops calling it, its own would."""
    assert callable(LightningCLI._parse_ckpt_path)
    monkeypatch.setattr("src.cli.command_line.CLI._parse_ckpt_path", mock.Mock(side_effect=UserError("called")))
    with pytest.raises(SystemExit):
        cli("fit", "--model.net=src.models.SimpleCNN", "--data=Shapes")


# Errors


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=str)
def test_a_signal_during_the_test_sets_the_exit_code(
    number: int, code: int, cli: Run, tiny: list[str], request: pytest.FixtureRequest
) -> None:
    # Where pytest runs in the background of a script, SIGINT is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    with pytest.raises(SystemExit) as stop:
        cli(
            "fit",
            *tiny,
            f"--trainer.callbacks+={{class_path: tests.toys.SendInTest, init_args: {{number: {int(number)}}}}}",
        )
    assert stop.value.code == code


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_evaluation_needs_weights(command: str, fails: Fails, tiny: list[str]) -> None:
    assert "needs weights: --run RUN" in fails(command, *tiny)


def test_a_run_is_not_overwritten(fails: Fails, fitted: Path, tiny: list[str]) -> None:
    assert "already holds a run" in fails("fit", *tiny, "--trainer.default_root_dir=logs/a/b")


def test_a_checkpoint_of_another_network_is_reported_with_its_parameters(fails: Fails, fitted: Path) -> None:
    text = fails("test", "--run=a/b", "--model.net=src.models.DeepCNN", "--model.net.image_size=12")
    assert "of another network" in text
    assert "net.2.weight (32, 32, 3, 3) is not in the checkpoint" in text


def test_a_loss_that_is_not_finite_keeps_the_last_checkpoint(cli: Run, fitted: Path) -> None:
    before = weights("logs/a/b")
    with pytest.raises(SystemExit):
        cli("fit", "--resume=a/b", "--trainer.max_epochs=2", "--model.optimizer.init_args.lr=1e30")
    assert same(weights("logs/a/b"), before)


def test_a_run_with_more_epochs_trains_further(cli: Run, tiny: list[str]) -> None:
    """A schedule that had come to its end stretches to the new one."""
    schedule = ["--model.lr_scheduler=src.optim.WarmupDecay", "--trainer.max_epochs=1", "--test_after_fit=false"]
    cli("fit", *tiny, *schedule, "--trainer.default_root_dir=logs/a/b")
    before = weights("logs/a/b")
    cli("fit", "--resume=a", "--trainer.max_epochs=2", "--test_after_fit=false")
    assert not same(weights("logs/a/b"), before)


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_networks_of_other_dtypes(precision: str, cli: Run, tiny: list[str]) -> None:
    cli("fit", *tiny, f"--trainer.precision={precision}", "--trainer.default_root_dir=logs/a/b")
    assert (
        weights("logs/a/b")["net.0.weight"].dtype == {"64-true": torch.float64, "bf16-true": torch.bfloat16}[precision]
    )


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_an_evaluation_checks_the_size_of_the_images(
    command: str, cli: Run, fitted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli(command, "--run=a", "--data.image_size=16")
    assert stop.value.code == 2
    assert "does not take images of shape (2, 3, 16, 16)" in capsys.readouterr().err
