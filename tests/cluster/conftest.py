"""A real SLURM for all tests of this folder."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.slurm import Slurm, wait_until
from tests.conftest import ROOT

# Augmentation, dropout, a schedule by step, averaged weights; a checkpoint at each step.
RECIPE = """
seed_everything: 3
trainer:
  max_epochs: 8
  accelerator: cpu
  precision: 32-true
  log_every_n_steps: 1
  enable_model_summary: false
  callbacks:
    - class_path: src.callbacks.EMA
    - class_path: tests.cluster.pace.Pace
  default_callbacks:
    preview: null
    confusion_matrix: null
    checkpoints: {class_path: src.runtime.run_checkpoints.RunCheckpoints, init_args: {every_n_steps: 1}}
model:
  net: {class_path: src.models.SimpleCNN, init_args: {image_size: 12}}
  optimizer: {class_path: torch.optim.AdamW}
  lr_scheduler: {class_path: src.optim.WarmupDecay, init_args: {warmup: 0.2}}
data:
  class_path: src.data.Shapes
  init_args:
    train_size: 120
    test_size: 40
    image_size: 12
    batch_size: 24
    augment:
      - class_path: src.data.augment.AlternatingFlip
"""


@dataclass
class Cluster:
    """SLURM, and a copy of the project from which jobs are submitted, with its own `logs`."""

    slurm: Slurm
    folder: Path
    recipe: str

    def submit(self, command: str = "", *options: str, wrapper: str = "srun --kill-on-bad-exit=1", **env: str) -> str:
        """Submits `python -m src fit` with these arguments; returns the id of the job."""
        script = f"#!/bin/bash\n{wrapper} python -m src fit --config {self.recipe} {command}\n"
        return self.submit_script(script, *options, **env)

    def submit_script(self, script: str, *options: str, **env: str) -> str:
        usual = ["--time=10", "--requeue", "--open-mode=append", f"--output={self.folder}/logs/%A_%a.out"]
        return self.slurm.sbatch(script, *usual, *options, folder=self.folder, **env)

    def output(self, job: str, task: int | None = None) -> str:
        path = self.folder / "logs" / f"{job}_{4294967294 if task is None else task}.out"
        return path.read_text() if path.is_file() else ""

    def wait_for_line(self, job: str, pattern: str, seconds: float = 120, task: int | None = None) -> None:
        wait_until(lambda: re.search(pattern, self.output(job, task)), seconds, f"{pattern} in {job}")

    def run(self, job: str) -> Path:
        return self.folder / "logs" / Path(self.recipe).stem / f"job-{job}"

    def finish(self, job: str, seconds: float = 240) -> str:
        """Waits for the end of a job that must succeed; returns its output."""
        state = self.slurm.wait(job, seconds)
        assert state == "COMPLETED", f"{state}\n{self.output(job)[-5000:]}"
        return self.output(job)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if missing := Slurm.missing_programs():
        reason = f"{', '.join(missing)} of SLURM not found; on Debian, `apt-get install slurm-wlm munge`"
        if os.environ.get("REQUIRE_SLURM"):
            pytest.fail(f"{reason}, and REQUIRE_SLURM does not allow a skip")
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("cluster")
    for name in ("src", "tests", "configs", "slurm"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "logs").mkdir()
    (folder / "recipe.yaml").write_text(RECIPE)
    slurm = Slurm(tmp_path_factory.mktemp("slurm"))
    slurm.start()
    try:
        yield Cluster(slurm, folder, "recipe.yaml")
    finally:
        slurm.stop()


TWO_NODES = ("--nodes=2", "--ntasks-per-node=1")


@pytest.fixture(scope="session")
def undisturbed(cluster: Cluster) -> Path:
    """The run of a job on two nodes that nothing disturbs."""
    job = cluster.submit("--trainer.callbacks.seconds=0", *TWO_NODES)
    cluster.finish(job)
    return cluster.run(job)
