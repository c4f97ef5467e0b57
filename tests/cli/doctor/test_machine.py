"""Checks of a machine, with one that passes and one that fails."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from src.cli.doctor import machine
from src.cli.doctor.finding import Note
from src.errors import UserError
from tests.conftest import ROOT
from tests.data.storage.test_disk import unwritable

PROJECT = {"requires-python": ">=3.11.4", "dependencies": ["lightning>=2.6.4,<2.7", "torch[x]>=2.15"]}


def test_packages() -> None:
    installed = {"python": "3.11.9", "lightning": "2.6.6", "torch": "2.16.0a1+cpu"}
    assert machine.packages(PROJECT, installed) == (
        "Python and 2 packages have the versions that pyproject.toml requires"
    )
    with pytest.raises(UserError) as caught:
        machine.packages(PROJECT, {"python": "3.11.2", "lightning": "2.7.0"})
    assert str(caught.value).startswith(
        "python 3.11.2 is not >=3.11.4; lightning 2.7.0 is not <2.7,>=2.6.4; torch (not installed) is not >=2.15."
    )


def test_the_installed_packages_have_the_required_versions() -> None:
    assert machine.packages(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"], machine.installed())


def test_a_driver_without_a_gpu_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "hardware", lambda: {"cpu": "abacus", "cores": 2, "gpus": []})
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "abacus, 2 cores, no CUDA device" in machine.machine()
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert isinstance(machine.machine(), Note)


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


@pytest.mark.parametrize(
    ("environ", "processes", "each", "on_cpu", "text"),
    [
        ({}, 1, 4, True, "1 x 4 on 8 cores"),
        ({}, 4, 8, True, "4 x 2 on 8 cores"),  # Lightning divides the cores
        ({"LOCAL_RANK": "0"}, 4, 8, False, "4 x 8 on 8 cores, which are too few; set OMP_NUM_THREADS=2"),
        ({}, 1, 1, True, "1 x 1 on 8 cores, of which the others are idle; set OMP_NUM_THREADS=8"),
        ({}, 1, 1, False, "1 x 1 on 8 cores"),
    ],
)
def test_threads(environ: dict[str, str], processes: int, each: int, on_cpu: bool, text: str) -> None:
    found = machine.threads(environ, processes, each, 8, on_cpu)
    assert found == text
    assert isinstance(found, Note) == ("OMP_NUM_THREADS" in text)


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
