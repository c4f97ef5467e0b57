"""Training processes that are killed at random moments and resumed end as the undisturbed run.

The short form runs with the other tests. The long one is `make kill`: KILLS=50 kills of one process and 20 of two, in
each precision. The seed of the moments is printed, and `KILL_SEED` repeats them.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from pathlib import Path

import pytest
import torch

from tests.processes import finish, start, wait_for_first_epoch
from tests.toys import Scalars, last_checkpoint, logged_scalars

KILLS = int(os.environ.get("KILLS", "1"))
SEED = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(2**32)))

# Augmentation, dropout, a schedule by step, accumulated gradients, averaged weights; a checkpoint at each step.
ARGUMENTS = [
    *("--data=Shapes", "--data.train_size=250", "--data.test_size=40", "--data.image_size=12"),
    *("--data.batch_size=24", "--data.augment+=ImageDataGenerator", "--data.augment+=AlternatingFlip"),
    *("--model.net=src.models.SimpleCNN", "--model.net.image_size=12", "--model.optimizer=torch.optim.AdamW"),
    *("--model.lr_scheduler=src.optim.WarmupDecay", "--model.lr_scheduler.warmup=0.2", "--test_after_fit=false"),
    *("--trainer.max_epochs=12", "--trainer.accumulate_grad_batches=2", "--trainer.log_every_n_steps=1"),
    *("--trainer.default_callbacks.checkpoints.every_n_steps=1", "--trainer.callbacks+=src.callbacks.ema.EMA"),
    *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"),
]


def time_fit(*arguments: str) -> float:
    """Runs a fit to its end; returns the seconds between the ends of its first and its last epoch."""
    process = start(*arguments)
    wait_for_first_epoch(process)
    first = last = time.monotonic()
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("epoch "):
            last = time.monotonic()
    process.stdout.close()
    assert process.wait(240) == 0, "".join(lines)[-3000:]
    return last - first


def outcome(directory: Path) -> tuple[list, Scalars]:
    """The state of training in last.ckpt, and the scalars."""
    saved = last_checkpoint(directory)
    return [saved["state_dict"], saved["current_model_state"], saved["optimizer_states"]], logged_scalars(directory)


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_killed_run_ends_as_the_undisturbed_one(world_size: int, precision: str, tmp_path: Path) -> None:
    moments = random.Random(SEED + world_size)
    kills = KILLS if world_size == 1 else max(1, KILLS * 2 // 5)
    print(f"KILL_SEED={SEED}, {kills} kills of {world_size} process(es) in {precision}")
    arguments = [*ARGUMENTS, f"--trainer.precision={precision}"]
    if world_size == 2:
        arguments += ["--trainer.devices=2", "--trainer.strategy=ddp"]
    seconds = time_fit(*arguments, f"--trainer.default_root_dir={tmp_path / 'undisturbed'}")
    expected_state, expected_scalars = outcome(tmp_path / "undisturbed")
    for number in range(kills):
        directory = tmp_path / f"killed-{number}"
        process = start(*arguments, f"--trainer.default_root_dir={directory}")
        wait_for_first_epoch(process)
        moment = moments.uniform(0, seconds)
        time.sleep(moment)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        output = finish(f"--resume={directory}")
        state, scalars = outcome(directory)
        torch.testing.assert_close(state, expected_state, rtol=0, atol=0)
        assert scalars == expected_scalars
        step = re.search(r"step (\d+)", output)
        print(f"  kill {number + 1} after {moment:.2f} s, resumed from step {step[1] if step else '?'}: equal")
