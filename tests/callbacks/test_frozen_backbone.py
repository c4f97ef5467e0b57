"""Training of the head alone at first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from src.callbacks import FrozenBackbone
from tests.conftest import TINY
from tests.processes import finish
from tests.toys import CallAt, Linear, classifier, fit, last_checkpoint


class Deep(nn.Sequential):
    """A backbone with batch norm, and a head."""

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), Linear(num_classes, 16))


class DeepWithoutNorm(nn.Sequential):
    """A backbone that computes the same on any number of ranks, and a head."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(nn.Conv2d(3, 4, 3), nn.ReLU(), Linear(num_classes, 400))


def test_only_the_head_trains_in_the_first_epochs(tmp_path: Path) -> None:
    model = classifier(net=Deep())
    states: list[dict[str, Any]] = []

    def keep() -> None:
        states.append({name: value.clone() for name, value in model.net.state_dict().items()})

    keep()
    fit(
        tmp_path,
        model,
        max_epochs=3,
        callbacks=[FrozenBackbone(2), *(CallAt("on_train_epoch_end", n, keep) for n in range(3))],
    )
    first, *after = states
    for state in after[:2]:
        assert [name for name in first if not torch.equal(first[name], state[name])] == [
            "3.layer.weight",
            "3.layer.bias",
        ]
    assert all(not torch.equal(after[1][name], after[2][name]) for name in first)


def test_the_backbone_is_in_evaluation_mode_without_gradients_and_afterwards_as_before(tmp_path: Path) -> None:
    model = classifier(net=Deep())
    model.net[0].bias.requires_grad_(False)  # pyright: ignore
    modes: list[tuple[list[bool], list[bool]]] = []

    def keep() -> None:
        of_modules = [module.training for module in model.net.children()]
        modes.append((of_modules, [own.requires_grad for own in model.net.parameters()]))

    calls = [CallAt("on_train_batch_end", n, keep) for n in (0, 3, 4, 7)]
    fit(tmp_path, model, max_epochs=2, callbacks=[FrozenBackbone(1), *calls])
    frozen = ([False, False, False, True], [False, False, False, False, True, True])
    trained = ([True, True, True, True], [True, False, True, True, True, True])
    assert modes == [frozen, frozen, trained, trained]


def test_a_run_that_ends_frozen_is_not_frozen_afterwards(tmp_path: Path) -> None:
    model = classifier(net=Deep())
    fit(tmp_path, model, callbacks=[FrozenBackbone(3)])
    assert all(own.requires_grad for own in model.net.parameters())


def test_no_epochs() -> None:
    with pytest.raises(ValueError, match="epochs 0 must be at least 1"):
        FrozenBackbone(0)


@pytest.mark.slow
def test_two_ranks_give_the_weights_of_one(tmp_path: Path) -> None:
    arguments = [argument for argument in TINY if argument != "--model.net.image_size=12"]
    arguments += ["--model.net=tests.callbacks.test_frozen_backbone.DeepWithoutNorm", "--model.layer_decay=0.5"]
    arguments += ["--trainer.callbacks=FrozenBackbone", "--trainer.max_epochs=2", "--test_after_fit=false"]
    for world_size in (1, 2):
        devices = [f"--trainer.devices={world_size}", f"--trainer.strategy={['auto', 'ddp'][world_size - 1]}"]
        finish(*arguments, *devices, f"--trainer.default_root_dir={tmp_path / str(world_size)}")
    one, two = (last_checkpoint(tmp_path / str(world_size)) for world_size in (1, 2))
    assert one["global_step"] == two["global_step"] > 2
    torch.testing.assert_close(two["state_dict"], one["state_dict"], rtol=1e-4, atol=1e-6)
