"""The command that checks a GPU, on a machine without one."""

import json
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, gpu_speed
from benchmarks.gpu import Row
from tests.conftest import ROOT

TESTS = """
import time
def test_that_passes(record_property): record_property("figure", "1.5")
def test_that_fails(): assert 1 == 2
def test_that_never_ends(): time.sleep(1000)
"""


def test_the_command_runs_all_checks_and_figures() -> None:
    assert gpu.CHECKS.keys() == {path.stem for path in (ROOT / "tests/gpu").glob("test_*.py")}
    assert gpu.FIGURES.keys() == gpu_speed.PARTS.keys()


@pytest.mark.slow
def test_the_command_on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "MINUTES", 60)  # on a busy machine
    monkeypatch.setattr(gpu, "CHECKS", {"test_messages": 600})  # the others run with all tests
    monkeypatch.setattr(gpu, "FIGURES", dict.fromkeys(gpu.FIGURES, 600))
    monkeypatch.setattr(sys, "argv", ["gpu", "--device=cpu", "--short", f"--out={tmp_path}", f"--data_dir={tmp_path}"])
    with pytest.raises(SystemExit) as raised:
        gpu.main()
    written = json.loads((tmp_path / "report.json").read_text())
    assert raised.value.code == 0, written
    names = {row["name"].partition(":")[0] for row in written["rows"] if row["part"] == "speed"}
    assert names == {"002_simple", "ResNet-18", "dataset of ResNet-18", "idle", "compile", "speed94"}
    assert {row["result"] for row in written["rows"] if row["part"] == "check"} == {"pass"}
    page = (tmp_path / "report.md").read_text()
    assert page.startswith("# cpu: 2 pass, 0 fail, 0 skip\n\n| part | name | result | figure |\n| --- |")
    assert page in capsys.readouterr().out


@pytest.mark.slow
def test_failures_and_checks_that_never_end_are_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tests/gpu").mkdir(parents=True)
    (tmp_path / "tests/gpu/test_it.py").write_text(TESTS)
    (tmp_path / "tests/gpu/test_broken.py").write_text("import nothing_of_that_name")
    monkeypatch.setattr(gpu, "ROOT", tmp_path)
    arguments = Namespace(out=tmp_path, device="cpu")
    for seconds in (15, 60, 240):  # on a busy machine, the first test may begin after that
        rows = list(gpu.check("test_it", seconds, arguments))
        if len(rows) > 2:
            break
    assert rows[0] == Row("check", "that passes", "pass", "1.5")
    assert rows[1][:3] == ("check", "that fails", "fail") and "assert 1 == 2" in rows[1].figure
    assert rows[-1] == Row("check", "test_it", "fail", f"did not end within {seconds} s")
    assert "fail" in {row.result for row in gpu.check("test_broken", 60, arguments)}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_the_command_needs_a_gpu_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(SystemExit, match="torch finds no GPU; --device cpu --short"):
        gpu.main()


def test_idle_time_counts_overlapping_kernels_once() -> None:
    profile = gpu_speed.Profile.__new__(gpu_speed.Profile)
    ranges = ((0, 1000), (500, 2000), (3000, 4000), (3100, 3200))
    cuda = Namespace(name="CUDA")
    events = [Namespace(device_type=cuda, time_range=Namespace(start=a, end=b)) for a, b in ranges]
    profile.profiler = Namespace(events=lambda: events)  # pyright: ignore[reportAttributeAccessIssue]
    assert profile.busy() == (3.0, 4.0)
