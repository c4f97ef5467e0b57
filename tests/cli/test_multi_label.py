"""The recipe of images that can have several classes: training, test, resume, several processes, files and export."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from src.cli import inference
from src.cli.main import main
from src.runtime.checkpoint_file import read
from tests.conftest import ROOT
from tests.processes import finish

pytestmark = pytest.mark.slow


class Net(nn.Sequential):
    """A convolution without dropout, so that nothing depends on the rank."""

    def __init__(self, num_classes: int = 3) -> None:
        layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, num_classes)
        super().__init__(*layers)


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of a fit on 61 images of 8 x 8 pixels, whose classes are their bright channels."""
    folder = tmp_path_factory.mktemp("data")
    generator = torch.Generator().manual_seed(0)
    rows = ["path,red,green,blue"]
    (folder / "images").mkdir()
    for number in range(61):
        labels_C = torch.randint(2, (3,), generator=generator)
        image_HWC = torch.randint(0, 100, (8, 8, 3), generator=generator) + 100 * labels_C
        Image.fromarray(image_HWC.to(torch.uint8).numpy()).save(folder / "images" / f"{number}.png")
        rows.append(f"{number}.png,{','.join(map(str, labels_C.tolist()))}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return [
        *(f"--config={ROOT / 'configs/multi_label.yaml'}", f"--data.data_dir={folder / 'images'}"),
        *(f"--data.labels={folder / 'labels.csv'}", f"--data.cache_dir={folder / 'cache'}", "--data.image_size=8"),
        *("--data.batch_size=8", "--data.val_fraction=0.3", "--data.test_fraction=0.3"),
        *("--model.net=tests.cli.test_multi_label.Net", "--trainer.max_epochs=3", "--trainer.accelerator=cpu"),
        *("--trainer.precision=32-true", "--trainer.enable_progress_bar=false", "--model.lr_scheduler=null"),
    ]


@pytest.fixture(scope="module")
def run(arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "run"
    main(["fit", *arguments, f"--trainer.default_root_dir={directory}"])
    return directory


def results(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "results.json").read_text())


def test_a_fit_and_its_test_log_and_show(run: Path) -> None:
    metrics = results(run)
    assert {"train/loss", "train/map", "val/map", "val/f1", "val/threshold"} <= metrics["fit"]["last"].keys()
    assert metrics["fit"]["best"]["val/map"] > 0.5
    of_classes = {f"test/f1_of/{name}" for name in ("red", "green", "blue")}
    assert {"test/loss", "test/map", "test/f1", "test/threshold", *of_classes} == {
        name for name in metrics["test"] if name.startswith("test/")
    }
    events = EventAccumulator(str(run), {"images": 0})
    events.Reload()
    shown = {"confusion_matrix", "reliability", "classes", "mistakes", "mistakes_why", "highest_loss", "lowest_loss"}
    assert {tag.removeprefix("view_test/") for tag in events.Tags()["images"] if "test" in tag} == shown
    assert "| mean average precision |" in (run / "report.md").read_text()
    assert len(list(run.glob("confusion_matrix.*"))) == 2
    assert len((run / "classes.csv").read_text().splitlines()) == 4
    assert list(run.rglob("metadata.tsv"))


def test_two_processes_give_the_result_of_one(run: Path, arguments: list[str], tmp_path: Path) -> None:
    """Batches of 8 divide neither the images of a class nor those of a subset evenly."""
    quiet = [f"--trainer.default_callbacks.{name}=null" for name in ("preview", "projector", "mistakes")]
    several = ["--trainer.devices=2", "--trainer.strategy=ddp", f"--trainer.default_root_dir={tmp_path / 'two'}"]
    finish(*arguments, *quiet, *several)
    one, two = results(run), results(tmp_path / "two")
    for name in ("train/map", "val/map", "val/f1", "val/threshold"):
        assert two["fit"]["last"][name] == pytest.approx(one["fit"]["last"][name], abs=2e-6), name
    for name in ("test/map", "test/f1", "test/threshold", "test/f1_of/red"):
        assert two["test"][name] == pytest.approx(one["test"][name], abs=2e-6), name


def test_a_run_resumed_within_an_epoch_is_the_undisturbed_one(run: Path, arguments: list[str], tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"
    main(["fit", *arguments, "--trainer.max_steps=6", f"--trainer.default_root_dir={stopped}"])
    assert read(stopped / "checkpoints/last.ckpt")["train_metrics"][0]["map"]["preds"]
    main(["fit", f"--resume={stopped}", "--trainer.max_steps=-1"])
    for name in ("best", "last"):
        expected, resumed = (read(folder / f"checkpoints/{name}.ckpt") for folder in (run, stopped))
        assert resumed["spec"] == expected["spec"]
        torch.testing.assert_close(resumed["state_dict"], expected["state_dict"], rtol=0, atol=0)
    assert results(stopped)["fit"]["last"] == results(run)["fit"]["last"]
    assert results(stopped)["test"] == results(run)["test"]


def test_files_are_predicted_and_the_network_exported_with_the_threshold(
    run: Path, arguments: list[str], cli: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    images = Path(next(one for one in arguments if one.startswith("--data.data_dir=")).partition("=")[2])
    cli("predict", f"--run={run}", "--trainer.accelerator=cpu")
    assert inference.run(["predict", f"--run={run}", str(images), "--output=files.csv"]) == 0
    with (run / "predictions.csv").open() as of_test, Path("files.csv").open() as of_files:
        tested, files = list(csv.DictReader(of_test)), list(csv.DictReader(of_files))
    assert list(files[0]) == ["path", "classes", "p(red)", "p(green)", "p(blue)"] and len(files) == 61
    columns = ("p(red)", "p(green)", "p(blue)")
    classes = {tuple(f"{float(row[name]):.4f}" for name in columns): row["classes"] for row in files}
    for row in tested:
        assert classes[tuple(f"{float(row[name]):.4f}" for name in columns)] == row["predicted"]
    spec = read(run / "checkpoints/best.ckpt")["spec"]
    threshold = spec["threshold"]
    chosen = [";".join(n for n in ("red", "green", "blue") if float(row[f"p({n})"]) >= threshold) for row in files]
    assert [row["classes"] for row in files] == chosen
    capsys.readouterr()
    assert inference.run(["export", f"--run={run}", "--format=torch-export", str(images), "--output=model.pt2"]) == 0
    assert "61 of 61 images have the same class" in capsys.readouterr().out
    saved = {"metadata.json": ""}
    torch.export.load("model.pt2", extra_files=saved)
    exported = json.loads(saved["metadata.json"])["image_spec"]
    assert exported["multi_label"] and exported["threshold"] == threshold
