"""Random numbers of a step."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from src import rng
from src.runtime.step_seed import StepSeed


def sample(seed: int = 0, epoch: int = 0, batch: int = 0, rank: int = 0) -> float:
    trainer: Any = SimpleNamespace(datamodule=SimpleNamespace(seed=seed), current_epoch=epoch, global_rank=rank)
    model: Any = SimpleNamespace(device=torch.device("cpu"))
    StepSeed().on_train_batch_start(trainer, model, None, batch)
    return torch.rand(()).item()


def test_the_same_place_draws_the_same_whatever_was_drawn_before() -> None:
    first = sample(epoch=1, batch=2)
    torch.rand(17)
    assert sample(epoch=1, batch=2) == first


def test_a_cpu_draws_what_torch_s_own_seeding_draws() -> None:
    value = sample(seed=3, epoch=1, batch=2)
    torch.manual_seed(rng.key(3, rng.Stream.STEP, 1, 2, 0))
    assert torch.rand(()).item() == value


def test_seed_epoch_batch_and_process_each_count() -> None:
    places = [{}, {"seed": 1}, {"epoch": 1}, {"batch": 1}, {"rank": 1}]
    assert len({sample(**place) for place in places}) == len(places)
