"""The random numbers of a step."""

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


def test_a_step_samples_the_same_numbers_whatever_was_sampled_before() -> None:
    first = sample(epoch=1, batch=2)
    torch.rand(17)
    assert sample(epoch=1, batch=2) == first


def test_a_step_on_a_cpu_samples_as_after_torch_manual_seed() -> None:
    value = sample(seed=3, epoch=1, batch=2, rank=4)
    torch.manual_seed(rng.key(3, rng.Stream.STEP, 1, 2, 4))
    assert torch.rand(()).item() == value


def test_seed_epoch_batch_and_rank_give_other_numbers() -> None:
    changes = [{}, {"seed": 1}, {"epoch": 1}, {"batch": 1}, {"rank": 1}]
    assert len({sample(**change) for change in changes}) == len(changes)
