"""The result does not depend on the number of ranks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.conftest import TINY
from tests.processes import finish, start
from tests.toys import last_checkpoint

Outcome = tuple[dict, dict[str, torch.Tensor], dict[str, torch.Tensor]]


def fit(directory: Path, *arguments: str) -> Outcome:
    """The results, the last weights and the samples of the test of a fit in separate processes."""
    # No dropout and no batch norm, so that nothing depends on the rank; batches of 24 do not divide the 102 training,
    # 25 validation and 41 test samples evenly among two, three or four.
    finish(
        *(argument for argument in TINY if argument != "--model.net.image_size=12"),
        *("--data.test_size=41", "--data.train_size=127", "--data.augment+=ImageDataGenerator"),
        "--data.mix=src.data.augment.MixupOrCutMix",
        *("--model.net=tests.toys.Linear", "--model.net.num_classes=10", "--model.net.inputs=432"),
        *("--trainer.callbacks+=tests.toys.SaveTestSamples", "--trainer.default_callbacks.report=src.callbacks.Report"),
        *("--trainer.max_epochs=20", f"--trainer.default_root_dir={directory}", *arguments),
    )
    assert (directory / "report.html").is_file()
    results, samples = json.loads((directory / "results.json").read_text()), torch.load(directory / "samples.pt")
    return results, last_checkpoint(directory)["state_dict"], samples


@pytest.fixture(scope="module")
def of_one_rank(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    outcome = fit(tmp_path_factory.mktemp("one"))
    assert outcome[0]["fit"]["steps"] == 100
    return outcome


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_several_ranks_give_the_result_of_one(world_size: int, of_one_rank: Outcome, tmp_path: Path) -> None:
    expected, expected_weights, expected_samples = of_one_rank
    results, weights, samples = fit(tmp_path / "several", f"--trainer.devices={world_size}", "--trainer.strategy=ddp")
    for name in ("train/acc", "val/acc"):
        assert results["fit"]["last"][name] == expected["fit"]["last"][name]
    assert results["test"]["test/acc"] == expected["test"]["test/acc"]
    assert results["test"]["test/loss"] == pytest.approx(expected["test"]["test/loss"], rel=1e-5)
    torch.testing.assert_close(weights, expected_weights, rtol=1e-4, atol=1e-6)
    assert samples["indices_N"].tolist() == list(range(41))
    torch.testing.assert_close(samples, expected_samples, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_batch_size_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    process = start(
        *(*TINY, "--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=25"),
        f"--trainer.default_root_dir={tmp_path / 'run'}",
    )
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "batch_size 25 does not divide by 2 processes" in output
    assert "Traceback" not in output
