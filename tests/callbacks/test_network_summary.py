"""The table of layers."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelSummary

from src.callbacks.network_summary import NetworkSummary
from src.data import ImageSet
from src.models import DeepCNN, SpeedNet, TestTimeAugmentation
from src.runtime.default_callbacks import DefaultCallbacks
from tests.toys import Squares, classifier, trainer


def summary(net: torch.nn.Module, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> str:
    class Images(Squares):
        def read(self, subset: str) -> ImageSet:
            images_NHWC, labels_N = super().read(subset)
            return ImageSet(images_NHWC.repeat(1, 8, 8, 1), labels_N)

    fitted = trainer(tmp_path, max_steps=1)
    with caplog.at_level(logging.INFO, "lightning.pytorch"):
        fitted.fit(classifier(net=net), datamodule=Images(), test_after_fit=False)
    return next(record.getMessage() for record in caplog.records if "Out sizes" in record.getMessage())


def test_each_layer_has_its_sizes_and_parameters(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    text = summary(DeepCNN(num_classes=3), caplog, tmp_path)
    first, last = (next(line for line in text.splitlines() if name in line) for name in ("net.0 ", "net.16 "))
    assert "Conv2d" in first and "[2, 3, 32, 32]" in first and "[2, 32, 32, 32]" in first and "896" in first
    assert "Linear" in last and "[2, 3]" in last
    assert "metrics" not in text


def test_a_wrapper_shows_the_layers_inside(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    text = summary(TestTimeAugmentation(SpeedNet(num_classes=3, widths=(24, 24, 24))), caplog, tmp_path)
    assert "net.whiten" in text and "net.block3" in text


def test_a_network_that_cannot_be_summarized_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no summary")

    monkeypatch.setattr(ModelSummary, "on_fit_start", fail)
    fitted = trainer(tmp_path, max_steps=1)
    with pytest.warns(UserWarning, match="the summary of the network is left out: no summary"):
        fitted.fit(classifier(), datamodule=Squares(), test_after_fit=False)
    assert fitted.global_step == 1


def test_it_can_be_removed(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    none = DefaultCallbacks(model_summary=None)
    for fitted in (trainer(tmp_path, enable_model_summary=False), trainer(tmp_path, default_callbacks=none)):
        callbacks = fitted.callbacks  # pyright: ignore[reportAttributeAccessIssue]
        assert not any(isinstance(callback, NetworkSummary) for callback in callbacks)
