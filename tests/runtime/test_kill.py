"""Real training processes, killed at random moments, end as the undisturbed one.

The short form runs with the other tests. The long one is `make kill`: KILLS=50 kills of one process and two fifths as
many of two, in each precision. The seed of the moments is printed, and `KILL_SEED` repeats them.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.processes import finish, start, wait_for_first_epoch

KILLS = int(os.environ.get("KILLS", "1"))
SEED = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(2**32)))

# Augmentation, dropout, a schedule by step, accumulated gradients, averaged weights; a checkpoint in most steps.
ARGUMENTS = [
    *("--data=Shapes", "--data.train_size=250", "--data.test_size=40", "--data.image_size=12"),
    *("--data.batch_size=24", "--data.augment+=ImageDataGenerator", "--data.augment+=AlternatingFlip"),
    *("--model.net=src.models.SimpleCNN", "--model.net.image_size=12", "--model.optimizer=torch.optim.AdamW"),
    *("--model.lr_scheduler=src.optim.WarmupDecay", "--model.lr_scheduler.warmup=0.2"),
    *(
        "--trainer.max_epochs=12",
        "--trainer.accumulate_grad_batches=2",
        "--trainer.default_callbacks.checkpoints.every_n_steps=1",
    ),
    *("--trainer.accelerator=cpu", "--trainer.log_every_n_steps=1", "--test_after_fit=false"),
    *("--trainer.enable_progress_bar=false", "--trainer.callbacks+=src.callbacks.ema.EMA"),
]
TWO = ["--trainer.devices=2", "--trainer.strategy=ddp"]


def seconds_of(*arguments: str) -> float:
    """Runs to the end; gives the seconds between the ends of the first and the last epoch."""
    process = start(*arguments)
    wait_for_first_epoch(process)
    began = ended = time.monotonic()
    assert process.stdout
    rest = []
    for line in process.stdout:
        rest.append(line)
        if line.startswith("epoch "):
            ended = time.monotonic()
    process.stdout.close()
    assert process.wait(240) == 0, "".join(rest)[-3000:]
    return ended - began


def outcome(directory: Path) -> tuple[list[Any], dict[str, list[tuple[int, float]]]]:
    saved = torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)
    board = EventAccumulator(str(directory), {"scalars": 0}).Reload()
    names = [name for name in board.Tags()["scalars"] if name.startswith(("train/", "val/", "lr-"))]
    curves = {name: [(point.step, point.value) for point in board.Scalars(name)] for name in names}
    return [saved["state_dict"], saved["current_model_state"], saved["optimizer_states"]], curves


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_killed_run_ends_as_the_undisturbed_one(processes: int, precision: str, tmp_path: Path) -> None:
    moments = random.Random(SEED + processes)
    kills = KILLS if processes == 1 else max(1, KILLS * 2 // 5)
    print(f"KILL_SEED={SEED}, {kills} kills of {processes} process(es) in {precision}")
    more = [f"--trainer.precision={precision}", *(TWO if processes == 2 else [])]
    whole = tmp_path / "whole"
    seconds = seconds_of(*ARGUMENTS, *more, f"--trainer.default_root_dir={whole}")
    expected = outcome(whole)
    for number in range(kills):
        directory = tmp_path / f"killed-{number}"
        process = start(*ARGUMENTS, *more, f"--trainer.default_root_dir={directory}")
        wait_for_first_epoch(process)
        moment = moments.uniform(0, seconds)
        time.sleep(moment)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        output = finish(f"--resume={directory}")
        state, curves = outcome(directory)
        torch.testing.assert_close(state, expected[0], rtol=0, atol=0)
        assert curves == expected[1]
        step = re.search(r"step (\d+)", output)
        print(f"  kill {number + 1} after {moment:.2f} s, resumed from step {step[1] if step else '?'}: equal")


@pytest.mark.slow
def test_two_processes_of_which_one_is_told_to_stop_stop_together(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    process = start(*ARGUMENTS, *TWO, "--trainer.precision=32-true", f"--trainer.default_root_dir={directory}")
    wait_for_first_epoch(process)
    os.kill(process.pid, signal.SIGTERM)  # the first process alone
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output[-3000:]
    assert "stopped by SIGTERM" in output
    assert "resumes from" in finish(f"--resume={directory}")
