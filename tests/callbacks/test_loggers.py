"""Other loggers by Lightning's class paths, offline: scalars, hyperparameters, and images where the logger has them."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conftest import TINY_WITH_IMAGES

LOGGERS = "lightning.pytorch.loggers"
METRICS = {"train/loss", "val/acc", "lr-AdamW", "watch/gradient_norm", "watch/update_ratio", "test/acc"}
IMAGES = {
    *("view_test/confusion_matrix", "view_test/reliability", "view_test/classes", "view_test/mistakes"),
    *("view_test/mistakes_why", "view_test/highest_loss", "view_test/lowest_loss"),
    *("view_train/augmented", "view_train/first_layer_initial", "view_train/first_layer_trained"),
}
SETTINGS = {"model.net": "SimpleCNN", "data": "Shapes", "data.batch_size": "24", "trainer.max_epochs": "1"}


def fit(cli: Callable[..., None], name: str, *arguments: str) -> None:
    cli("fit", *TINY_WITH_IMAGES, "--trainer.log_every_n_steps=2", f"--trainer.logger={LOGGERS}.{name}", *arguments)


@pytest.mark.slow
def test_csv(cli: Callable[..., None], tmp_path: Path) -> None:
    fit(cli, "CSVLogger", "--trainer.logger.save_dir=csv")
    folder = next((tmp_path / "csv").rglob("metrics.csv")).parent
    assert set(next(csv.reader((folder / "metrics.csv").read_text().splitlines()))) >= METRICS
    written = yaml.safe_load((folder / "hparams.yaml").read_text())
    assert {name: str(written[name]) for name in SETTINGS} == SETTINGS


@pytest.mark.slow
@pytest.mark.loggers
@pytest.mark.filterwarnings("default")  # those of the package
def test_wandb(cli: Callable[..., None], tmp_path: Path) -> None:
    wandb = pytest.importorskip("wandb")
    fit(cli, "WandbLogger", "--trainer.logger.offline=true", "--trainer.logger.save_dir=.")
    assert set(wandb.run.summary.keys()) >= METRICS | IMAGES
    assert {wandb.run.summary[name]["width"] for name in IMAGES} == {350}
    assert {name: str(wandb.run.config[name]) for name in SETTINGS} == SETTINGS
    wandb.finish()
    (folder,) = tmp_path.glob("wandb/offline-run-*/files/media/images")
    written = {re.sub(r"_\d+_\w+\.png$", "", str(path.relative_to(folder))) for path in folder.rglob("*.png")}
    assert written == IMAGES


@pytest.mark.slow
@pytest.mark.loggers
@pytest.mark.filterwarnings("default")  # those of the package
def test_mlflow(cli: Callable[..., None], tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    fit(cli, "MLFlowLogger", "--trainer.logger.tracking_uri=sqlite:///mlflow.db")
    client = mlflow.tracking.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("lightning_logs").experiment_id])
    assert run.data.metrics.keys() >= METRICS
    assert {name: run.data.params[name] for name in SETTINGS} == SETTINGS
    shown = [
        file.path
        for folder in client.list_artifacts(run.info.run_id)
        for file in client.list_artifacts(run.info.run_id, folder.path)
    ]
    assert {path.rpartition("_")[0] for path in shown} == IMAGES
