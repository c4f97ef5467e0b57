"""Processes that a real torchrun starts, and starts again."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from src.models import SimpleCNN
from tests.conftest import ROOT, TINY, TINY_WITH_IMAGES
from tests.toys import last_checkpoint, logged_scalars

pytestmark = pytest.mark.slow
needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the ranks in /proc")

LONGER = ["--trainer.max_epochs=4", "--trainer.log_every_n_steps=1", "--trainer.callbacks+=src.callbacks.EMA"]
LONGER += ["--trainer.default_callbacks.checkpoints.every_n_steps=1", "--test_after_fit=false"]
ARGUMENTS = [*TINY, *LONGER]


def torchrun(folder: Path, *options: str, arguments: list[str] = ARGUMENTS) -> subprocess.Popen[str]:
    """Starts two processes from a folder; PORT in the options is a free one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        options = tuple(option.replace("PORT", str(free.getsockname()[1])) for option in options)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--max_restarts=2", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*command, "-m", "src", "fit", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_rank_one(process: subprocess.Popen[str]) -> None:
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        if "\0RANK=1\0" in Path(f"/proc/{child}/environ").read_text():
            os.kill(int(child), signal.SIGKILL)


def fit(folder: Path, arguments: list[str] = ARGUMENTS) -> Path:
    output, _ = (process := torchrun(folder, "--standalone", arguments=arguments)).communicate(timeout=240)
    assert process.returncode == 0, output[-3000:]
    return only_run(folder)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(tmp_path_factory.mktemp("undisturbed"))


def only_run(folder: Path) -> Path:
    """All ranks agree on one directory."""
    (directory,) = folder.glob("logs/run/*")
    return directory


def kill_and_restart(folder: Path, *options: str, arguments: list[str] = ARGUMENTS) -> Path:
    """Kills rank 1 after two epochs; returns the run that the processes started again have resumed."""
    process = torchrun(folder, *options, arguments=[*arguments, "--trainer.callbacks+=tests.cluster.pace.Pace"])
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("epoch 2/4"):
            break
    kill_rank_one(process)
    lines += process.stdout.readlines()
    process.stdout.close()
    output = "".join(lines)
    assert process.wait(60) == 0, output[-5000:]
    directory = only_run(folder)
    assert re.search(rf"job \S+, restart 1: resumes logs/run/{directory.name}", output)
    return directory


def assert_equal(directory: Path, other: Path) -> None:
    states = [last_checkpoint(run) for run in (directory, other)]
    for entry in ("state_dict", "current_model_state", "optimizer_states"):
        torch.testing.assert_close(states[0][entry], states[1][entry], rtol=0, atol=0)
    assert logged_scalars(directory) == logged_scalars(other)


@needs_proc
@pytest.mark.parametrize(
    "options",
    [
        ("--rdzv_backend=c10d", "--rdzv_endpoint=127.0.0.1:0", "--rdzv_id=17"),
        ("--master_port=PORT",),  # without a name of the job
    ],
    ids=["c10d", "static"],
)
def test_a_killed_rank_starts_again_and_resumes_exactly(
    options: tuple[str, ...], tmp_path: Path, undisturbed: Path
) -> None:
    directory = kill_and_restart(tmp_path, *options)
    if "--rdzv_id=17" in options:
        assert directory.name == "job-17"
    assert_equal(directory, undisturbed)


@needs_proc
def test_a_killed_rank_of_a_sharded_network_does_too(tmp_path: Path, undisturbed: Path) -> None:
    strategy = ["--trainer.strategy=src.runtime.fsdp.FSDP", "--trainer.strategy.min_parameters=300"]
    report = ["--trainer.default_callbacks.report=src.callbacks.report.Report", "--test_after_fit=true"]
    arguments = [*TINY_WITH_IMAGES, *LONGER, *strategy, *report]
    for name in ("killed", "undisturbed"):
        (tmp_path / name).mkdir()
    killed = kill_and_restart(tmp_path / "killed", "--standalone", arguments=arguments)
    assert_equal(killed, alone := fit(tmp_path / "undisturbed", arguments))
    for name in ("watch/gradient_norm", "watch/update_ratio"):
        sharded, complete = (logged_scalars(run, (name,))[name] for run in (alone, undisturbed))
        torch.testing.assert_close(torch.tensor(sharded), torch.tensor(complete), rtol=1e-3, atol=1e-5)
    assert "Robustness and cost are not measured: the network is sharded" in (killed / "report.md").read_text()


def test_a_mistake_ends_all_ranks_with_one_paragraph(tmp_path: Path) -> None:
    started = time.monotonic()
    process = torchrun(tmp_path, "--standalone", "--max_restarts=0", arguments=[*ARGUMENTS, "--data.batch_size=25"])
    output, _ = process.communicate(timeout=240)
    assert process.returncode != 0
    assert output.count("error: ") == 1, output
    assert "batch_size 25 does not divide by 2 processes" in output
    assert not (tmp_path / "logs").exists()
    assert time.monotonic() - started < 120  # and not when a process group times out


def test_a_fault_on_one_rank_carries_its_rank_and_ends_the_others(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import os\nfrom lightning import Callback\n"
        "class Wrong(Callback):\n    def on_train_batch_start(self, *args):\n"
        "        1 / (1 - int(os.environ['RANK']))\n"
    )
    arguments = [*ARGUMENTS, "--trainer.callbacks+=own.Wrong"]
    process = torchrun(tmp_path, "--standalone", "--max_restarts=0", arguments=arguments)
    output, _ = process.communicate(timeout=240)
    assert process.returncode != 0
    assert re.search(r"rank 1 \(process \d+ on \S+\): the following error ends it", output), output
    assert output.count("ZeroDivisionError: division by zero") == 1
    assert "error: rank 0" not in output


class Downloaded(SimpleCNN):
    """With weights that are downloaded into a folder where no process has done so before; names each download."""

    def __init__(self, num_classes: int = 10, image_size: int = 12, pretrained: bool = False) -> None:
        super().__init__(num_classes=num_classes, image_size=image_size)
        file = Path(torch.hub.get_dir()) / "weights"
        if pretrained and not file.exists():
            print("downloads", flush=True)
            time.sleep(1)
            torch.save(self.state_dict(), file)


def test_one_of_several_processes_downloads_pretrained_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    own = [*TINY, "--model.net=tests.runtime.test_torchrun.Downloaded", "--model.net.image_size=12"]
    output, _ = torchrun(
        tmp_path, "--standalone", arguments=[*own, "--model.net.pretrained=true", "--test_after_fit=false"]
    ).communicate(timeout=240)
    assert output.count("downloads") == 1, output
    assert (only_run(tmp_path) / "checkpoints/last.ckpt").exists()
