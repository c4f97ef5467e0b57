"""The names of the classes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from src.callbacks.class_names import class_names, names_of


def test_classes_of_the_data_or_their_numbers() -> None:
    trainer: Any = SimpleNamespace(datamodule=SimpleNamespace(classes=("cat", "d\udce9g")))
    assert class_names(trainer, 2) == ["cat", "d\\udce9g"]  # a file name that is not UTF-8
    trainer.datamodule = None
    assert class_names(trainer, 2) == ["0", "1"]


def test_an_image_has_one_name_or_all_that_it_has() -> None:
    names = ["cat", "dog"]
    assert names_of(torch.tensor([1, 0]), names) == ["dog", "cat"]
    several_BK = torch.tensor([[1, 1], [0, 0]])
    assert names_of(several_BK, names) == ["cat;dog", "none"]
    assert names_of(several_BK, names, without="") == ["cat;dog", ""]
