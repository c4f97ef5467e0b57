"""A rank that is killed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src.runtime import ranks
from src.runtime.dead_ranks import DeadRankDetector
from tests.conftest import TINY
from tests.processes import process_ids, start

NO_END = [*TINY, "--trainer.max_epochs=10000", "--trainer.strategy=ddp"]
NO_END += ["--trainer.default_callbacks.checkpoints.every_n_steps=1"]


def test_one_process_has_no_registry() -> None:
    trainer: Any = SimpleNamespace(world_size=1)
    detector = DeadRankDetector()
    detector.on_fit_start(trainer, trainer)
    assert detector.registry is None


@pytest.mark.parametrize("stage, calls", [("fit", 1), ("validate", 0)])
def test_each_validation_batch_of_a_fit_has_a_collective_operation(
    stage: str, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reduced: list[int] = []
    monkeypatch.setattr(ranks, "all_reduce_max", lambda trainer, value: reduced.append(value))
    trainer: Any = SimpleNamespace(state=SimpleNamespace(fn=stage))
    DeadRankDetector().on_validation_batch_end(trainer, trainer, None, None, 0)
    assert len(reduced) == calls


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the ranks in /proc")
@pytest.mark.parametrize("world_size, victim", [(2, 1), (3, 0)])
def test_a_killed_rank_is_named_and_the_others_exit(world_size: int, victim: int, tmp_path: Path) -> None:
    directory, devices = tmp_path / "run", f"--trainer.devices={world_size}"
    process = start(*NO_END, devices, f"--trainer.default_root_dir={directory}")
    ids = process_ids(process)
    os.kill(ids[victim], signal.SIGKILL)
    killed = time.monotonic()
    output, _ = process.communicate(timeout=60)  # until all have closed their end of the pipe
    assert time.monotonic() - killed < 30
    assert "Traceback" not in output
    reported = f": rank {victim} (process {ids[victim]} on " in output and f"fit --resume {directory}" in output
    # Lightning checks the processes that it started every 5 seconds. If it is faster, it kills the others.
    observed = f"[rank: {victim}] Child process with PID {ids[victim]} terminated" in output
    assert reported or observed, output[-3000:]
    assert process.returncode in ((-signal.SIGKILL,) if victim == 0 else (1, -signal.SIGKILL)), output[-3000:]
    if victim == 1:
        resumed = start(*NO_END, devices, f"--resume={directory}")
        os.kill(process_ids(resumed)[0], signal.SIGTERM)
        output, _ = resumed.communicate(timeout=60)
        assert resumed.returncode == 143, output[-3000:]
