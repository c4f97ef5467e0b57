"""Checks of a machine, with one that passes and one that fails."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from src.cli.doctor import machine
from src.cli.doctor.finding import Note, check
from src.errors import UserError
from tests.data.storage.test_disk import unwritable
from tests.runtime.test_job import ALONE, BATCH, TORCHRUN, slurm


def test_a_driver_without_a_gpu_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "hardware", lambda: {"cpu": "abacus", "cores": 2, "gpus": []})
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "abacus, 2 cores, no CUDA device" in machine.machine()
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert isinstance(machine.machine(), Note)


def test_a_card_is_named_with_its_memory_and_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    card = SimpleNamespace(name="A100", total_memory=80 * 10**9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: card)
    monkeypatch.setattr(machine, "hardware", lambda: {"cpu": "abacus", "cores": 2, "gpus": ["A100", "A100"]})
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: SimpleNamespace(stdout="550.54.15\n550.54.15\n"))
    assert "2 cores, A100 (80.0 GB), A100 (80.0 GB), driver 550.54.15" in machine.machine()


@pytest.mark.parametrize(
    ("precision", "native", "text"),
    [
        ("auto", "bf16-mixed", "auto becomes bf16-mixed, which the hardware computes natively"),
        ("auto", "32-true", "auto becomes 32-true"),
        ("bf16-mixed", "32-true", "bf16-mixed, which the hardware emulates; auto becomes 32-true"),
        (32, "bf16-mixed", "32"),
    ],
)
def test_precision(precision: object, native: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "native_precision", lambda accelerator: native)
    assert machine.precision(precision, "cpu") == text
    assert isinstance(machine.precision(precision, "cpu"), Note) == ("emulates" in text)


def test_a_folder_that_can_be_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.writable(tmp_path, "x") == f"{tmp_path} is writable"
    assert machine.writable(tmp_path / "a/b", "x") == f"{tmp_path}/a/b is writable, to be created in {tmp_path}"
    monkeypatch.chdir(tmp_path)
    assert machine.writable(Path("a/b"), "x") == f"a/b is writable, to be created in {tmp_path}"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: Not a directory; set another x"):
        machine.writable(tmp_path / "file/b", "x")
    with unwritable(tmp_path), pytest.raises(UserError, match="Permission denied; set another x"):
        machine.writable(tmp_path / "b", "x")


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=3_000_000))
    assert machine.disk(tmp_path / "a", 2_000_000, "x") == f"2.0 MB needed in {tmp_path}/a for x, 3.0 MB free"
    with pytest.raises(UserError, match=r"2\.5 GB needed in .* for x, 3\.0 MB free; free some space"):
        machine.disk(tmp_path, 2_500_000_000, "x")


def test_memory() -> None:
    # This process holds the dataset already; two others need 20 bytes.
    assert not isinstance(machine.memory(10, 3, available=21), Note)
    with pytest.raises(UserError, match="start fewer processes per node"):
        machine.memory(10, 3, available=20)
    assert isinstance(machine.memory(10, 1, available=None), Note)


def test_available_memory(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    assert machine.available_memory(meminfo, {}) is None
    meminfo.write_text("MemTotal: 9999 kB\nMemAvailable:   4096 kB\n")
    assert machine.available_memory(meminfo, {}) == 4096 * 1024
    assert machine.available_memory(meminfo, {"SLURM_MEM_PER_NODE": "1"}) == 1024 * 1024  # in MB
    assert machine.available_memory(meminfo, {"SLURM_MEM_PER_NODE": "0"}) == 4096 * 1024  # all


@pytest.mark.parametrize(
    ("environ", "devices", "line"),
    [
        ({}, 2, "ok    processes: Lightning starts them"),
        (ALONE, 2, "ok    processes: Lightning starts them"),
        ({"LOCAL_RANK": "0"}, 2, "note  processes: Lightning starts none, since LOCAL_RANK is set"),
        (slurm(), "auto", "ok    processes: SLURM starts 4 processes on 2 nodes"),
        (TORCHRUN, 2, "ok    processes: torchrun starts 4 processes on 2 nodes"),
        (slurm(), 1, "FAIL  processes: SLURM starts 4 processes on 2 nodes, and trainer.devices 1"),
        (BATCH, "auto", "FAIL  processes: the job has 4 tasks on 2 nodes, and srun did not start this process"),
    ],
)
def test_processes(environ: dict[str, str], devices: object, line: str) -> None:
    assert str(check("processes", machine.processes, devices, None, "auto", environ)).startswith(line)
