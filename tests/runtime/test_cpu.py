"""Settings of the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from src.runtime import cpu
from tests.conftest import ROOT
from tests.toys import trainer


def test_a_trainer_flushes_subnormal_numbers_to_zero(tmp_path: Path) -> None:
    torch.set_flush_denormal(False)
    assert torch.tensor(1e-39) * 1 > 0
    trainer(tmp_path)
    assert torch.tensor(1e-39) * 1 == 0


@pytest.mark.parametrize("libc", [None, object()], ids=["none", "no mallopt"])
def test_a_c_library_without_mallopt_is_left_as_it_is(libc: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "_libc", lambda: libc)
    cpu.configure()


def run(program: str, **environment: str) -> str:
    environment = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_command_line_configures_every_thread() -> None:
    program = """
import contextlib, torch
from src.cli.main import main
torch.set_num_threads(4)
with contextlib.suppress(SystemExit):
    main(["fit", "--config", "missing.yaml"])
print((torch.full([2**22], 1e-39) * 1).count_nonzero().item())
"""
    assert run(program) == "0\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="for glibc only")
def test_freed_memory_is_kept() -> None:
    # Tensors of 4,096 pages of 4 kB. Pages that were returned to the system are page faults when used again.
    program = """
import resource, torch
from src.runtime import cpu
cpu.configure()
for number in range(15):
    if number == 5:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**22).add(1).mul(2).add(3)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    # By default glibc adapts its threshold, so that it returns memory in some processes and not in others.
    returns = {"MALLOC_MMAP_THRESHOLD_": str(2**16)}
    configured, default = run(program, **returns), run(program.replace("cpu.configure()", ""), **returns)
    # With huge pages a tensor has 8 pages instead of 4,096.
    assert 5 * int(configured) < int(default)
