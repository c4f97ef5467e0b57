"""Jobs on a real SLURM of two nodes on this machine: `make cluster`.

Wherever a job continues, it ends with the weights, the optimizer and the scalars of the job that nothing disturbs.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
import torch

from tests.cluster.conftest import TWO_NODES, Cluster
from tests.cluster.slurm import wait_until
from tests.toys import last_checkpoint, logged_scalars

pytestmark = [pytest.mark.slow, pytest.mark.cluster]


def check_equal(run: Path, undisturbed: Path) -> None:
    """Compares what two runs have trained and logged."""
    states = []
    for directory in (run, undisturbed):
        saved = last_checkpoint(directory)
        states.append([saved["state_dict"], saved["current_model_state"], saved["optimizer_states"]])
        assert saved["global_step"] == 8 * 4
    torch.testing.assert_close(*states, rtol=0, atol=0)
    assert logged_scalars(run) == logged_scalars(undisturbed)
    tests = [json.loads((directory / "results.json").read_text())["test"] for directory in (run, undisturbed)]
    assert tests[0] == tests[1]


def ranks(cluster: Cluster, job: str) -> dict[int, int]:
    """The process id of each rank of a running job."""
    found = {}
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = dict(v.split("=", 1) for v in environ.read_text(errors="replace").split("\0") if "=" in v)
            command = (environ.parent / "cmdline").read_text()
        except OSError:
            continue
        if variables.get("SLURM_JOB_ID") == job and "SLURM_STEP_ID" in variables and "-m\0src" in command:
            found[int(variables["SLURM_PROCID"])] = int(environ.parent.name)
    return found


def test_a_job_on_two_nodes_writes_each_file_once(cluster: Cluster, undisturbed: Path) -> None:
    job = undisturbed.name.removeprefix("job-")
    output = cluster.output(job)
    line = (
        f"run directory logs/recipe/job-{job}, 2 x CPU on 2 nodes, precision 32-true, batch of 24 images, 12 for each "
        f"device, started by job {job}"
    )
    assert output.count(line) == 1, output
    assert output.count("run directory") == output.count("epoch 8/8") == 1
    assert "sync_dist" not in output and "Traceback" not in output
    assert {path.name for path in (undisturbed / "checkpoints").iterdir()} == {
        "best.ckpt",
        "last.ckpt",
        "previous.ckpt",
    }
    manifest = json.loads((undisturbed / "manifest.json").read_text())
    assert manifest["processes"] == 2
    assert not list(cluster.folder.glob("logs/recipe/2*")), "a rank has a directory of its own"


def test_a_preempted_job_continues_by_itself(cluster: Cluster, undisturbed: Path) -> None:
    job = cluster.submit("", *TWO_NODES, "--exclusive")
    cluster.wait_for_line(job, "epoch 2/8")
    other = cluster.slurm.sbatch(
        "#!/bin/bash\nsleep 1\n", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null"
    )
    assert cluster.slurm.wait(other) == "COMPLETED"
    output = cluster.finish(job)
    stop = re.search(r"stopped by SIGTERM at epoch \d, step \d+, (\d+\.\d) s after it .* saved in .* requeued", output)
    assert stop and float(stop[1]) < 3, output
    assert f"job {job}, restart 1: resumes logs/recipe/job-{job}" in output
    assert output.count("stopped by") == 1 and "Traceback" not in output
    check_equal(cluster.run(job), undisturbed)


def test_the_signal_before_the_time_limit_requeues_and_so_does_the_limit_alone(
    cluster: Cluster, undisturbed: Path
) -> None:
    """Also where the recipe has changed in the meantime: the run keeps its own configuration."""
    recipe = cluster.folder / "changing.yaml"
    recipe.write_text((cluster.folder / cluster.recipe).read_text())
    changing = Cluster(cluster.slurm, cluster.folder, recipe.name)
    # SLURM may send the signal up to a minute early, even before training: the first step is finished.
    slow = "--trainer.callbacks.seconds=1.5"
    signaled = changing.submit(slow, *TWO_NODES, "--time=1", "--signal=USR1@20")
    limited = cluster.submit(slow, *TWO_NODES, "--time=1")
    changing.wait_for_line(signaled, "stopped by SIGUSR1")
    recipe.write_text(recipe.read_text().replace("seed_everything: 3", "seed_everything: 4"))
    changing.finish(signaled)
    output = cluster.finish(limited)
    assert re.search(r"the job ends at .*; training stops \d+ s and the longest step or validation before", output)
    assert "stopped by SIGUSR1" in output and "restart 1: resumes" in output
    assert "before training" not in output  # SLURM sends SIGTERM to the process that it requeues
    for run in (changing.run(signaled), cluster.run(limited)):
        check_equal(run, undisturbed)


def test_a_signal_during_the_imports_stops_after_the_first_step(cluster: Cluster, undisturbed: Path) -> None:
    job = cluster.submit("", *TWO_NODES)
    wait_until(lambda: len(ranks(cluster, job)) == 2, 60, f"two ranks of {job}")
    time.sleep(0.3)  # Python itself starts; the imports take seconds
    cluster.slurm.run("scancel", "--signal=USR1", f"{job}.0")
    output = cluster.finish(job)
    assert "stopped by SIGUSR1 at epoch 0, step 1," in output, output
    assert f"restart 1: resumes logs/recipe/job-{job}" in output
    check_equal(cluster.run(job), undisturbed)


def test_torchrun_within_a_job_numbers_the_ranks(cluster: Cluster, undisturbed: Path) -> None:
    """Rank 0 is on the second node here, so that SLURM and torchrun disagree on which process is the first."""
    torchrun = (
        "python -m torch.distributed.run --nnodes=2 --nproc_per_node=1 --rdzv_backend=c10d --rdzv_id=$SLURM_JOB_ID "
        "--rdzv_endpoint=127.0.0.1:29417 --local_addr=127.0.0.$((2 - SLURM_PROCID))"
    )
    job = cluster.submit_script(
        f"#!/bin/bash\nsrun bash -c '{torchrun} -m src fit --config {cluster.recipe}'\n", *TWO_NODES
    )
    cluster.wait_for_line(job, "epoch 2/8")
    cluster.slurm.run("scontrol", "requeue", job)
    output = cluster.finish(job)
    assert f"restart 1: resumes logs/recipe/job-{job}" in output, output
    assert output.count("epoch 1/8") == output.count("epoch 8/8") == 1, output
    check_equal(cluster.run(job), undisturbed)


def test_a_job_that_is_cancelled_saves_and_does_not_start_again(cluster: Cluster) -> None:
    job = cluster.submit("--trainer.callbacks.seconds=0.5", *TWO_NODES)
    cluster.wait_for_line(job, "epoch 1/8")
    cluster.slurm.run("scancel", job)
    assert cluster.slurm.wait(job) == "CANCELLED"
    wait_until(lambda: "stopped by SIGTERM" in cluster.output(job), 20, cluster.output(job))
    assert "does not start again" in cluster.output(job)
    assert last_checkpoint(cluster.run(job))["global_step"] > 0


def test_a_rank_that_is_killed_is_named_and_ends_the_job(cluster: Cluster) -> None:
    job = cluster.submit("--trainer.callbacks.seconds=0.5", *TWO_NODES, wrapper="srun")
    cluster.wait_for_line(job, "epoch 1/8")
    os.kill(ranks(cluster, job)[1], signal.SIGKILL)
    assert cluster.slurm.wait(job, 60) == "FAILED"
    output = cluster.output(job)
    assert re.search(
        r"error: rank 0 \(process \d+ on \S+\): rank 1 \(process \d+ on \S+\) of 2 no longer responds", output
    )
    assert "--resume logs/recipe/job-" in output


def lose_node(cluster: Cluster, job: str) -> None:
    """Loses the second node, waits until SLURM has requeued the job, and repairs the node."""
    cluster.slurm.lose_node("node2")
    wait_until(lambda: cluster.slurm.show(job).get("Restarts") == "1", 120, f"not requeued: {cluster.slurm.show(job)}")
    cluster.slurm.repair_node("node2")


def test_a_job_that_loses_a_node_continues_by_itself(cluster: Cluster, undisturbed: Path) -> None:
    job = cluster.submit("", *TWO_NODES)
    cluster.wait_for_line(job, "epoch 2/8")
    lose_node(cluster, job)
    output = cluster.finish(job)
    assert f"restart 1: resumes logs/recipe/job-{job}" in output
    check_equal(cluster.run(job), undisturbed)


def test_a_job_that_is_lost_before_its_first_checkpoint_begins_again(cluster: Cluster, undisturbed: Path) -> None:
    slow = "--trainer.callbacks.seconds=3"
    job = cluster.submit(f"{slow} --trainer.default_callbacks.checkpoints.every_n_steps=null", *TWO_NODES)
    wait_until((cluster.run(job) / "config.yaml").is_file, 120, f"no training: {cluster.output(job)}")
    time.sleep(5)  # a step, but no epoch
    lose_node(cluster, job)
    output = cluster.finish(job)
    assert f"restart 1: starts again, as there is no checkpoint yet, in logs/recipe/job-{job}" in output
    check_equal(cluster.run(job), undisturbed)


def test_the_tasks_of_an_array_have_runs_of_their_own_and_are_requeued_alone(cluster: Cluster) -> None:
    """By the script that people copy, without its GPU."""
    script = (cluster.folder / "slurm/array.sbatch").read_text()
    script = script.replace("#SBATCH --gpus-per-node=1\n", "").replace("--cpus-per-task=8", "--cpus-per-task=1")
    script = script.replace("#SBATCH --signal", "##SBATCH --signal")  # the test sends it
    array = cluster.submit_script(script.replace('"$@"', f"--config {cluster.recipe}"))
    runs = [cluster.run(f"{array}_{task}") for task in range(3)]
    cluster.wait_for_line(array, "epoch 2/8", task=2)  # the task whose job id is that of the array is the last
    cluster.slurm.run("scancel", "--signal=USR1", f"{array}_2")
    for task in range(3):
        assert cluster.slurm.wait(f"{array}_{task}", 240) == "COMPLETED", cluster.output(array, task)
    outputs = [cluster.output(array, task) for task in range(3)]
    assert ["restart 1: resumes" in output for output in outputs] == [False, False, True], outputs
    assert [last_checkpoint(run)["config"]["seed_everything"] for run in runs] == [0, 1, 2]
    assert all("test" in json.loads((run / "results.json").read_text()) for run in runs)


def test_two_jobs_and_two_steps_of_a_job_do_not_meet(cluster: Cluster, undisturbed: Path) -> None:
    command = f"srun --exact --ntasks=2 python -m src fit --config {cluster.recipe} --trainer.callbacks.seconds=0"
    script = f"#!/bin/bash\n{command} &\n{command} --seed_everything 5 &\nwait -n || exit 1\nwait -n\n"
    jobs = [
        cluster.submit_script(script, "--nodes=1", "--ntasks=4"),
        cluster.submit("--trainer.callbacks.seconds=0", "--nodes=1", "--ntasks=2"),
    ]
    for job in jobs:
        cluster.finish(job)
    seeds = [
        last_checkpoint(run)["config"]["seed_everything"] for run in (cluster.run(jobs[0]), cluster.run(f"{jobs[0]}.1"))
    ]
    assert sorted(seeds) == [3, 5]
    check_equal(cluster.run(jobs[1]), undisturbed)
    check_equal(cluster.run(jobs[0] if seeds[0] == 3 else f"{jobs[0]}.1"), undisturbed)


def mistake(
    cluster: Cluster, command: str, *options: str, paragraphs: int = 1, wrapper: str = "srun", **env: str
) -> str:
    """Runs a job that must fail before training, within seconds and without a trace; returns its output."""
    job = cluster.submit(command, *options, wrapper=wrapper, **env)
    assert cluster.slurm.wait(job, 60) == "FAILED", cluster.output(job)
    assert cluster.slurm.show(job)["ExitCode"] == "2:0"
    assert not cluster.run(job).exists()
    output = cluster.output(job)
    assert output.count("error: ") - output.count("srun: error: ") == paragraphs, output
    assert "Traceback" not in output
    return output


@pytest.mark.parametrize(
    ("command", "options", "wrapper", "reason"),
    [
        ("", TWO_NODES, "", "the job has 2 tasks on 2 nodes, and srun did not start this process"),
        ("--trainer.devices 2", TWO_NODES, "srun", "SLURM starts 2 processes on 2 nodes, and trainer.devices 2"),
        ("--trainer.num_nodes 1", TWO_NODES, "srun", "trainer.num_nodes 1 expect 1 on 1"),
        ("", ("--nodes=2", "--ntasks=3"), "srun", "2, 1 of them on each; start as many on each node"),
        ("--data.batch_size 25", TWO_NODES, "srun", "batch_size 25 does not divide by 2 processes"),
        ("--data.batch_sise 24", TWO_NODES, "srun", "did you mean batch_size"),
        ("--seed_everything $SLURM_PROCID", TWO_NODES, "srun bash -c 'exec \"$@\"' -", None),
    ],
)
def test_a_mistake_is_one_paragraph_before_training(
    command: str, options: tuple[str, ...], wrapper: str, reason: str | None, cluster: Cluster
) -> None:
    if reason is None:
        script = f"""srun bash -c 'python -m src fit --config {cluster.recipe} --seed_everything $SLURM_PROCID'"""
        job = cluster.submit_script(f"#!/bin/bash\n{script}\n", *options)
        assert cluster.slurm.wait(job, 60) == "FAILED"
        output = cluster.output(job)
        assert output.count("error: ") - output.count("srun: error: ") == 1, output
        assert re.search(r"error: rank 1 .* it does not run what rank 0 .* runs: .*seed_everything was 0, is 1", output)
        return
    assert reason in mistake(cluster, command, *options, wrapper=wrapper)


def test_an_address_that_does_not_resolve_and_a_rank_that_never_comes(cluster: Cluster) -> None:
    output = mistake(cluster, "", *TWO_NODES, paragraphs=2, MASTER_ADDR="node1.invalid")
    for rank in range(2):
        assert f"error: rank {rank}: MASTER_ADDR node1.invalid, the address of rank 0, does not resolve" in output
    command = f"python -m src fit --config {cluster.recipe}"
    script = f"#!/bin/bash\nsrun bash -c 'if [ $SLURM_PROCID = 1 ]; then sleep 60; fi; {command}'\n"
    job = cluster.submit_script(script, *TWO_NODES, RENDEZVOUS_SECONDS="10")
    assert cluster.slurm.wait(job, 100) == "FAILED"
    assert "rank 1 of 2 did not start within 10 s" in cluster.output(job)


def test_a_job_called_interactive_trains(cluster: Cluster) -> None:
    """Lightning ignores SLURM there."""
    job = cluster.submit("--trainer.callbacks.seconds=0 --trainer.max_epochs=1", *TWO_NODES, "--job-name=interactive")
    assert "2 x CPU on 2 nodes" in cluster.finish(job)
