"""Data that disappear during a run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from src.errors import UserError
from tests.data.test_cifar10 import Fakes, copy, fake  # noqa: F401 a fixture is found by its name
from tests.toys import CallAt, Linear, classifier, fit, last_checkpoint


def test_a_test_set_that_is_missing_after_training_is_an_error_and_can_be_tested_later(
    fake: Fakes,  # noqa: F811
    tmp_path: Path,
) -> None:
    Data, root = fake
    data_dir, moved, run = tmp_path / "data", tmp_path / "data" / "moved", tmp_path / "run"
    folder = copy(root, data_dir)

    def fit_and_test(**kwargs: Any) -> None:
        fit(run, classifier(net=Linear(10, 3072), num_classes=10), Data(data_dir), test=True, max_epochs=2, **kwargs)

    # Training has its images in memory; the test set is read after it.
    with pytest.raises(UserError, match=rf"{data_dir}/cifar-10-python.tar.gz does not exist, and no mirror serves it"):
        fit_and_test(callbacks=CallAt("on_validation_start", 0, lambda: folder.rename(moved)))
    assert last_checkpoint(run)["epoch"] == 2
    shutil.move(moved, folder)
    fit_and_test(resume=True)
    assert (run / "results.json").is_file()
