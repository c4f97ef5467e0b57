"""`python -m src doctor` from the command line."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT, TINY
from tests.runtime.test_job import slurm

Run = Callable[..., None]
Fails = Callable[..., str]
Report = Callable[..., tuple[int, list[str]]]

CIFAR10 = f"--config={ROOT / 'configs/cifar10.yaml'}"


@pytest.fixture
def report(
    cli: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, list[str]]]:
    """`report(...)` runs `doctor ...`, which must not write a file; returns the exit code and the lines."""
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str) -> tuple[int, list[str]]:
        before = sorted(tmp_path.rglob("*"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli("doctor", *arguments)
        assert sorted(tmp_path.rglob("*")) == before
        lines = capsys.readouterr().out.splitlines()
        assert all(line.startswith(("ok    ", "note  ", "FAIL  ")) for line in lines)
        assert isinstance(stop.value.code, int)
        return stop.value.code, lines

    return run


def subjects(lines: list[str], *levels: str) -> list[str]:
    return [line[6:].partition(":")[0] for line in lines if line[:4].strip() in levels]


def failed(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("FAIL")]


def test_the_machine_alone(report: Report) -> None:
    code, lines = report()
    assert code == 0
    assert subjects(lines, "ok", "note") == ["machine", "precision", "folder", "processes"]


def test_a_valid_configuration(report: Report, tiny: list[str]) -> None:
    code, lines = report(*tiny)
    assert code == 0
    expected = ["machine", "configuration", "processes", "trainer", "precision", "data", "classes"]
    assert subjects(lines, "ok", "note") == [
        *expected,
        *(
            "memory",
            "batches",
            "network",
            "memory format",
            "folder",
            "loss and metrics",
            "optimizer",
            "schedule",
            "disk",
        ),
    ]
    assert "ok    trainer: 1 x CPU per node, 1 node(s)" in lines


def test_all_faults_are_reported_at_once(report: Report, tiny: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wrong = ["--trainer.num_nodes=3", "--data.batch_size=25", "--model.net.image_size=32", "--trainer.max_epochs=0"]
    code, lines = report(*tiny, *wrong, "--trainer.default_root_dir=file/run", "--model.optimizer.init_args.lr=-1")
    assert code == 1
    assert subjects(lines, "FAIL") == ["configuration", "processes", "batches", "network", "folder", "optimizer"]


def test_devices_that_are_not_available(report: Report, tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "A100")
    monkeypatch.setattr("src.cli.doctor.machine._gpus", lambda: ["A100"])
    code, lines = report(*tiny, "--trainer.accelerator=cuda", "--trainer.devices=2")
    assert code == 1
    assert failed(lines)[0] == "FAIL  trainer: You requested gpu: [0, 1] But your machine only has: [0]"


def test_an_argument_that_lightning_refuses(report: Report, tiny: list[str]) -> None:
    code, lines = report(*tiny, "--trainer.val_check_interval=2.5", "--trainer.devices=5")
    assert code == 1
    first, second = failed(lines)
    assert first.startswith("FAIL  trainer: You have passed invalid value 2.5 for val_check_interval")
    assert second.startswith("FAIL  batches: batch_size 24 does not divide by 5 processes")


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ("trainer: {max_epoch: 3}", "did you mean trainer.max_epochs?"),
        ("trainer: {max_epochs: [1", "is not YAML"),
        ("{model: {net: src.models.SimpleCNN}, data: {class_path: Shapes, init_args: {batch_size: 0}}}", "at least 1"),
    ],
)
def test_a_fault_in_a_recipe_is_the_error_of_fit(recipe: str, reason: str, fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(recipe)
    assert reason in fails("doctor", "--config=recipe.yaml")


def test_other_processes_report_nothing_and_other_nodes_what_fails(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.cli.main.rendezvous.join", lambda: None)  # there are no others
    for name, value in slurm().items():
        monkeypatch.setenv(name, value)
    assert report() == (0, [])
    monkeypatch.setenv("SLURM_LOCALID", "0")
    assert report() == (0, [])
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "3,1")
    code, lines = report()
    assert code == 1 and len(lines) == 1
    assert lines[0].startswith("FAIL  processes: SLURM starts 4 processes on 2 nodes, 3, 1 of them on each")
    assert lines[0].endswith(f"(on {socket.gethostname()})")


@pytest.mark.slow
def test_a_run(report: Report, fitted: Path, tiny: list[str]) -> None:
    code, lines = report("--resume=a", "--trainer.max_epochs=2")
    assert code == 0
    assert "note  configuration: differs from the saved one: trainer.max_epochs was 1, is 2" in lines
    last = Path("logs/a/b/checkpoints/last.ckpt")
    intact = f"{last} is intact, of this network and optimizer, after 1 epochs and 4 steps"
    assert f"ok    checkpoint: {intact}" in lines
    assert f"note  checkpoint: trainer.max_epochs 1 is reached; {intact}" in report("--resume=a")[1]
    assert "ok    checkpoint: logs/a/b/checkpoints/best.ckpt is intact and of this network" in report("--run=a")[1]
    shutil.copy(last, last.with_name("previous.ckpt"))
    last.write_bytes(last.read_bytes()[:-100])
    lines = report("--resume=a", "--trainer.max_epochs=2")[1]
    assert any("last.ckpt cannot be read" in line and "previous.ckpt is intact" in line for line in lines)
    assert any("best.ckpt gives" in line for line in report(*tiny, "--model.init_from=a")[1])
    other = failed(report("--run=a", "--model.net=src.models.DeepCNN", "--model.net.image_size=12")[1])
    assert any("net.2.weight" in line for line in other)
    assert any(
        "already holds a run" in line for line in failed(report(*tiny, "--trainer.default_root_dir=logs/a/b")[1])
    )
    assert any("keeps its optimizer" in line for line in report("--resume=a", "--model.optimizer=torch.optim.SGD")[1])
    shutil.rmtree("logs/a/b/checkpoints")
    assert any("ended before its first" in line for line in failed(report("--resume=a")[1]))


def test_a_missing_dataset_is_a_note(report: Report) -> None:
    code, lines = report(CIFAR10, "--data.data_dir=nowhere")
    assert code == 0
    assert any("not there yet; fit will first " in line and "170 MB" in line for line in lines)
    assert subjects(lines, "ok").count("disk") == subjects(lines, "ok").count("folder") == 2


@pytest.mark.slow
def test_the_real_cifar10(report: Report, cifar10_dir: Path) -> None:
    lines = report(CIFAR10, f"--data.data_dir={cifar10_dir}")[1]
    found = f"CIFAR10 in {cifar10_dir}: 50,000 + 10,000 images of 32 x 32 x 3, 10 classes, intact"
    assert f"ok    data: {found}" in lines


@pytest.mark.slow
def test_under_torchrun_one_process_reports(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    arguments = ["-m", "src", "doctor", *TINY, "--trainer.devices=2", f"--trainer.default_root_dir={tmp_path / 'run'}"]
    done = subprocess.run(
        [*torchrun, *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert done.stdout.count("ok    processes: torchrun starts 2 processes on 1 node, as the trainer expects\n") == 1
    assert "12 images per process" in done.stdout
    assert list(tmp_path.iterdir()) == []
