"""Several processes on a CPU: the same experiment as one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT, TINY
from tests.processes import finish

Outcome = tuple[dict, dict[str, torch.Tensor]]


def fit(directory: Path, *arguments: str) -> Outcome:
    """The results and the last weights of a fit in processes of its own."""
    # No dropout and no batch norm, so that nothing depends on the rank; batches of 24 do not divide the 102 training,
    # 25 validation and 41 test samples evenly among two, three or four.
    finish(
        *(argument for argument in TINY if argument != "--model.net.image_size=12"),
        *("--data.test_size=41", "--data.train_size=127", "--data.augment+=ImageDataGenerator"),
        *("--model.net=tests.toys.Linear", "--model.net.num_classes=10", "--model.net.inputs=432"),
        *("--trainer.max_epochs=20", f"--trainer.default_root_dir={directory}", *arguments),
    )
    results = json.loads((directory / "results.json").read_text())
    return results, torch.load(directory / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def of_one(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    outcome = fit(tmp_path_factory.mktemp("one"))
    assert outcome[0]["fit"]["steps"] == 100
    return outcome


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3, 4])
def test_several_processes_give_what_one_gives(processes: int, of_one: Outcome, tmp_path: Path) -> None:
    one, weights_of_one = of_one
    several, weights = fit(tmp_path / "several", f"--trainer.devices={processes}", "--trainer.strategy=ddp")
    for name in ("train/acc", "val/acc"):
        assert several["fit"]["last"][name] == one["fit"]["last"][name]
    assert several["test"]["test/acc"] == one["test"]["test/acc"]
    assert several["test"]["test/loss"] == pytest.approx(one["test"]["test/loss"], rel=1e-5)
    torch.testing.assert_close(weights, weights_of_one, rtol=1e-4, atol=1e-6)


def test_a_batch_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "src", "fit", *TINY, "--trainer.devices=2", "--trainer.strategy=ddp"]
    command += ["--data.batch_size=25", f"--trainer.default_root_dir={tmp_path / 'run'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert "batch_size 25 does not divide by 2 processes" in done.stderr
    assert "Traceback" not in done.stderr
