"""Workers of one sweep on a real SLURM, part of `make sweep`."""

from __future__ import annotations

import re

import pytest

from tests.cluster.conftest import Cluster
from tests.cluster.slurm import wait_until

pytestmark = pytest.mark.sweep


def test_the_tasks_of_an_array_share_the_trials_and_are_requeued(cluster: Cluster) -> None:
    """By the script that people copy, without its GPU."""
    script = (cluster.folder / "slurm/sweep.sbatch").read_text()
    script = script.replace("#SBATCH --gpus-per-node=1\n", "").replace("--cpus-per-task=8", "--cpus-per-task=1")
    script = script.replace("#SBATCH --signal", "##SBATCH --signal")  # the test sends it
    (cluster.folder / "space.yaml").write_text("model.optimizer.lr: {low: 1e-3, high: 1e-2, log: true}\n")
    given = f"--config {cluster.recipe} --space space.yaml --trials 4 --pruner NopPruner"
    array = cluster.submit_script(script.replace('"$@"', given), "--array=0-1")
    logs = cluster.folder / "logs/sweep_recipe"
    cluster.wait_for_line(array, "trial-.* starts", task=1)
    name = re.findall(r"(trial-\d+) starts", cluster.output(array, 1))[0]
    output = logs / f"output/{name}.txt"
    wait_until(lambda: output.is_file() and "epoch 2/8" in output.read_text(), 120, f"epoch 2 of {name}")
    cluster.slurm.run("scancel", "--signal=USR1", f"{array}_1")
    for task in range(2):
        assert cluster.slurm.wait(f"{array}_{task}", 300) == "COMPLETED", cluster.output(array, task)
    outputs = cluster.output(array, 0) + cluster.output(array, 1)
    assert f"{name} resumes" in outputs
    assert sorted(re.findall(r"(trial-\d+) starts", outputs)) == [f"trial-00{number}" for number in range(4)]
    assert (logs / "sweep.md").read_text().count("| complete |") == 4 and (logs / "best.yaml").is_file()
