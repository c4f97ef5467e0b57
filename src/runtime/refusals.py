"""What Lightning offers and a run of this project refuses, with the reason and what to use."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from lightning import Callback
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BatchSizeFinder,
    DeviceStatsMonitor,
    LearningRateFinder,
    ModelPruning,
    StochasticWeightAveraging,
)
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy, Strategy

from src.errors import UserError

_ARGUMENTS = {
    "enable_checkpointing": (False, "a run is resumed and tested from its checkpoints; leave it true"),
    "use_distributed_sampler": (True, "the data module distributes batches itself, each sample once; leave it false"),
    "barebones": (True, "it removes the callbacks that save, resume and report a run; use lightning.Trainer for it"),
}
# Numbers with which Lightning fails after an epoch, never steps the optimizer, or ignores the argument.
_POSITIVE = {
    "accumulate_grad_batches": "it is the number of batches of a step; set 1 for one",
    "check_val_every_n_epoch": "for no validation, set trainer.limit_val_batches 0",
    "val_check_interval": "for no validation, set trainer.limit_val_batches 0",
}
_NOT_NEGATIVE = {
    "gradient_clip_val": "set null for no clipping",
    "log_every_n_steps": "set trainer.logger false to log nothing",
}
_CALLBACKS: dict[type[Callback], str] = {
    LearningRateFinder: "changes the learning rate to one that is not in config.yaml, and again when a run is resumed; "
    "compare short runs with different model.optimizer.init_args.lr",
    BatchSizeFinder: "changes the batch size to one that is not in config.yaml, and again when a run is resumed; try "
    "larger values of data.batch_size with --trainer.max_steps 5",
    StochasticWeightAveraging: "does not resume to the same weights; use src.callbacks.EMA, or "
    "lightning.pytorch.callbacks.WeightAveraging",
    BackboneFinetuning: "adds parameters to the optimizer within the training, and needs an attribute `backbone`; use "
    "src.callbacks.FrozenBackbone, or set requires_grad of layers in the constructor of your network",
    ModelPruning: "replaces parameters that the optimizer's state, weight averages and checkpoints refer to by name; "
    "prune a trained network by torch.nn.utils.prune",
}


def check_arguments(callbacks: Sequence[Callback], arguments: dict[str, Any]) -> None:
    """Raises UserError if one of the user's callbacks, or of the arguments of Lightning's trainer, would fail later."""
    for name, (refused, reason) in _ARGUMENTS.items():
        if arguments.get(name) is refused:
            raise UserError(f"trainer.{name} {str(refused).lower()} is not supported: {reason}")
    for name, advice in (_POSITIVE | _NOT_NEGATIVE).items():
        value = arguments.get(name)
        if isinstance(value, int | float) and not (value > 0 or (value == 0 and name in _NOT_NEGATIVE)):
            raise UserError(f"trainer.{name} {value} is {'not above' if name in _POSITIVE else 'below'} 0; {advice}")
    _check_strategy(arguments.get("strategy"))
    for callback in callbacks:
        if reason := _CALLBACKS.get(type(callback)):
            raise UserError(f"{type(callback).__name__} is not supported: it {reason}")
        if isinstance(callback, DeviceStatsMonitor) and not find_spec("psutil"):
            raise UserError("DeviceStatsMonitor needs psutil, which is not installed: pip install psutil")


def _check_strategy(strategy: Strategy | str | None) -> None:
    if isinstance(strategy, FSDPStrategy | ModelParallelStrategy) or str(strategy).startswith("fsdp"):
        name = strategy if isinstance(strategy, str) else type(strategy).__name__
        raise UserError(
            f"trainer.strategy {name} is not supported: Lightning saves its checkpoints past the plugin that replaces "
            "them atomically and keeps the one before; use src.runtime.fsdp.FSDP, by --config configs/cluster/fsdp.yaml"
        )
    if isinstance(strategy, str) and "." in strategy:
        raise UserError(
            f"trainer.strategy {strategy} is a class, which is given as `class_path` in a file, such as "
            "configs/cluster/fsdp.yaml"
        )
