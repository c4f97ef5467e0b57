"""What an evaluation returns for each sample."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from src.callbacks.gathered_outputs import gather

ALONE: Any = SimpleNamespace(world_size=1, is_global_zero=True)


def test_batches_are_concatenated_in_the_order_of_the_indices() -> None:
    batches = [
        {"indices": torch.tensor([2, 0]), "labels": torch.tensor([7, 5])},
        {"indices": torch.tensor([1]), "labels": torch.tensor([6])},
    ]
    gathered = gather(ALONE, batches)
    assert gathered is not None
    assert {name: values.tolist() for name, values in gathered.items()} == {"indices": [0, 1, 2], "labels": [5, 6, 7]}


def test_without_batches_there_is_nothing() -> None:
    assert gather(ALONE, []) is None
