"""Sharded training in two processes computes what DDP does, and leaves the same files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from tests.runtime.fsdp_fits import CASES, REFUSED, SIZE, Net, models
from tests.toys import Squares, classifier, fit, last_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fits")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    finished = subprocess.run(
        [*command, "-m", "tests.runtime.fsdp_fits", str(folder)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr[-5000:]
    return folder


@pytest.mark.parametrize("name", CASES)
def test_it_computes_what_ddp_computes(name: str, fits: Path) -> None:
    ddp, fsdp = fits / "ddp" / name, fits / "fsdp" / name
    # Muon sums the products of its bf16 matrices shard by shard.
    tolerance, of_loss = (2e-2, 1e-2) if name == "muon" else (1e-4, 1e-5)
    states = [last_checkpoint(directory) for directory in (fsdp, ddp)]
    for entry in ("state_dict", "optimizer_states"):
        torch.testing.assert_close(states[0][entry], states[1][entry], rtol=tolerance, atol=tolerance)
    results = [json.loads((directory / "results.json").read_text())["test"] for directory in (fsdp, ddp)]
    assert results[0]["test/loss"] == pytest.approx(results[1]["test/loss"], rel=of_loss)


def test_an_interrupted_run_resumes_exactly(fits: Path) -> None:
    states = [last_checkpoint(directory) for directory in (fits / "resumed", fits / "fsdp/ema")]
    for entry in ("state_dict", "current_model_state", "optimizer_states"):
        torch.testing.assert_close(states[0][entry], states[1][entry], rtol=0, atol=0)


def test_one_process_without_it_resumes_and_tests_its_checkpoint(fits: Path) -> None:
    directory = fits / "fsdp/plain"
    before = last_checkpoint(directory)
    model = classifier(net=models(CASES["plain"])[0]["net"])
    resumed = fit(directory, model, Squares(size=SIZE), resume=True, test=True, max_epochs=3)
    assert resumed.global_step == before["global_step"] + 5
    assert isinstance(model.net, Net)


@pytest.mark.parametrize("name", REFUSED)
def test_what_fails_with_shards_is_refused_before_training(name: str, fits: Path) -> None:
    assert name in (fits / f"{name}.txt").read_text()
    assert not (fits / "refused" / "checkpoints").exists()
