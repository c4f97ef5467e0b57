"""Every callback with Lightning's own Trainer."""

from __future__ import annotations

from pathlib import Path

import pytest
from lightning import Trainer

import src.callbacks as callbacks
from tests.toys import Squares, classifier


def test_every_callback_works_with_lightnings_trainer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = Trainer(
        default_root_dir=tmp_path / "run",
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        callbacks=[getattr(callbacks, name)() for name in callbacks.__all__],
    )
    model, data = classifier(), Squares()
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data)
    trainer.predict(model, datamodule=data)
    written = {path.name for path in (tmp_path / "run").iterdir()}
    assert written >= {"preview.png", "confusion_matrix.json", "confusion_matrix.png", "predictions.csv"}
    assert "epoch 1/1: train/loss" in capsys.readouterr().out
