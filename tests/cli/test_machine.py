"""What a machine has to give, read from files that stand for one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from src.cli import machine
from tests.data.storage.test_disk import unwritable

KIB, GIB = 1024, 1024**3


def system(root: Path, group: str = "/job/step", available: int = 8 * GIB) -> tuple[Path, Path]:
    """Folders like /proc and /sys/fs/cgroup, of a process in a group without limits."""
    proc, cgroups = root / "proc", root / "cgroups"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable:   {available // KIB} kB\n")
    (proc / "self/cgroup").write_text(f"0::{group}\n")
    (cgroups / group.strip("/")).mkdir(parents=True)
    return proc, cgroups


def limit(group: Path, most: str, used: int, inactive: int) -> None:
    (group / "memory.max").write_text(f"{most}\n")
    (group / "memory.current").write_text(f"{used}\n")
    (group / "memory.stat").write_text(f"anon 5\ninactive_file {inactive}\n")


def test_memory_without_limits_is_the_machines(tmp_path: Path) -> None:
    assert machine.available_memory(*system(tmp_path)) == 8 * GIB


def test_memory_is_what_the_job_has_left(tmp_path: Path) -> None:
    proc, cgroups = system(tmp_path)
    limit(cgroups / "job/step", "max", 2 * GIB, 0)
    limit(cgroups / "job", str(4 * GIB), 2 * GIB, GIB)  # the job's step has no limit, the job has
    assert machine.available_memory(proc, cgroups) == 3 * GIB


def test_memory_of_a_container_is_at_the_root_of_its_tree(tmp_path: Path) -> None:
    proc, cgroups = system(tmp_path, group="/")
    limit(cgroups, str(GIB), 2 * GIB, 0)  # more used than allowed: what is left is none, not less
    assert machine.available_memory(proc, cgroups) == 0


def test_memory_is_not_known_where_there_is_no_proc(tmp_path: Path) -> None:
    assert machine.available_memory(tmp_path / "proc") is None


def test_every_machine_has_its_cores_and_the_cpu_last() -> None:
    found = machine.devices(cores=3)
    assert list(found.items())[-1] == ("cpu", 3)


def test_speedup_is_measured() -> None:
    assert 0 < machine.bf16_speedup(torch.device("cpu"), side=8) < 1e6


def test_the_nearest_folder_that_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert machine.existing(tmp_path) == tmp_path
    assert machine.existing(tmp_path / "a/b/c") == tmp_path
    assert machine.existing(Path("a/b")) == tmp_path


def test_trying_to_write_leaves_nothing(tmp_path: Path) -> None:
    machine.try_to_write(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with unwritable(tmp_path), pytest.raises(PermissionError):
        machine.try_to_write(tmp_path)
