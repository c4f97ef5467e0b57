"""The optimizer and the schedule of a training, from the functions that a configuration names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from src.errors import UserError


def build_optimizer(make: Callable[[Any], Optimizer], parameters: Iterable[Any]) -> Optimizer:
    """The optimizer of a network's parameters, or of groups of them.

    Raises:
        UserError: if it is not for parameters like these.
    """
    try:
        optimizer = make(parameters)
    except ValueError as error:
        if "Muon only supports 2D" in str(error):
            raise UserError("torch.optim.Muon takes matrices alone; use src.optim.Muon for a network") from error
        raise
    of_all = [own for group in optimizer.param_groups for own in group["params"]]
    if isinstance(optimizer, torch.optim.LBFGS) and not all(own.is_contiguous() for own in of_all):
        raise UserError(
            "LBFGS views gradients as vectors, which those in channels-last memory format cannot be; "
            "set model.channels_last to false"
        )
    return optimizer


def build_layer_decay(
    make: Callable[[Any], Optimizer], layers: Sequence[Sequence[Tensor]], layer_decay: float
) -> Optimizer:
    """The optimizer with one parameter group per layer, whose learning rate is that of the next layer times
    `layer_decay`.

    Args:
        make: the optimizer of parameter groups.
        layers: their parameters, from the input to the head.
        layer_decay: in (0, 1].

    Raises:
        UserError: if the optimizer takes no groups.
    """
    try:
        optimizer = build_optimizer(make, [{"params": parameters} for parameters in layers])
    except ValueError as error:
        if "groups" in str(error):
            raise UserError(f"model.layer_decay {layer_decay} is not for this optimizer: {error}") from error
        raise
    for depth, group in enumerate(reversed(optimizer.param_groups)):
        group["lr"] *= layer_decay**depth
    return optimizer


def build_schedule(make: Callable[[Any], Any], optimizer: Optimizer, layer_decay: float = 1.0) -> Any:
    """The schedule of an optimizer.

    Args:
        make: the schedule of an optimizer.
        optimizer: the optimizer.
        layer_decay: with which it was built.

    Raises:
        UserError: if the schedule needs more than the optimizer, or sets one learning rate for all layers.
    """
    try:
        schedule = make(optimizer)
    except TypeError as error:
        raise UserError(
            f"model.lr_scheduler cannot be built from the optimizer alone: {error}. A schedule of other schedules, "
            "such as ChainedScheduler, needs a function of your own that takes the optimizer and returns it"
        ) from error
    rates = {group.get("initial_lr", group["lr"]) for group in optimizer.param_groups}
    if layer_decay < 1 and len(rates) < len(optimizer.param_groups):
        raise UserError(
            f"{type(schedule).__name__} sets one learning rate for all layers, so that model.layer_decay "
            f"{layer_decay} has no effect; use a schedule that scales those of the optimizer, such as "
            "src.optim.WarmupDecay"
        )
    return schedule
