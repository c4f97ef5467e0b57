"""Checks on the device that TEST_DEVICE names, by default the CPU: `python -m benchmarks.gpu` runs them on a GPU.

A check may add a figure to its row of the report: `record_property("figure", ...)`.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.toys import trainer

DEVICE = os.environ.get("TEST_DEVICE", "cpu")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def device() -> torch.device:
    return torch.device(DEVICE, 0) if DEVICE != "cpu" else torch.device("cpu")


@pytest.fixture
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions in float32; by default torch computes them on a GPU with the 10 bits of TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def fit_on(device: str, directory: Path, model: Any, data: Any, **kwargs: Any) -> Any:
    """A fit of three epochs on a device; `kwargs` are the trainer's."""
    fitted = trainer(directory, **{"accelerator": device, "devices": 1, "max_epochs": 3, **kwargs})
    fitted.fit(model, datamodule=data, test_after_fit=False)
    return fitted
