"""What is checked before the first step, by `fit` and by `doctor`."""

from __future__ import annotations

import copy
import inspect
import math
import warnings
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.utilities.types import LRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from src.classifier import Classifier
from src.data import ImageDataModule
from src.errors import UserError, did_you_mean
from src.models.class_activation import evaluating
from src.runtime.run_checkpoints import RunCheckpoints
from src.runtime.task_check import check_task


class PreflightCheck(Callback):
    """Checks before the first step that the network takes the images and returns one logit per class; and before
    training that it does so in training mode, that monitored metrics exist, that the loss and the metrics take what
    they get, and that the schedule is long enough."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        net = getattr(pl_module, "net", None)
        if not isinstance(data, ImageDataModule) or not isinstance(net, nn.Module):
            return
        example_BCHW = data.example_images(2, "train" if stage in ("fit", "validate") else "test").to(pl_module.dtype)
        training_BCHW = data.example_training_images(2).to(example_BCHW) if stage == "fit" else example_BCHW
        # Lightning has set pl_module.device, but moves the weights there only after this hook.
        device = next(net.parameters(), example_BCHW).device
        smallest = smallest_batch(trainer, data, trainer.world_size) if stage == "fit" else 2
        # A model can be evaluated on fewer classes than it has.
        num_classes = data.num_classes if stage == "fit" else getattr(pl_module, "num_classes", data.num_classes)
        check_network(net, example_BCHW.to(device), num_classes, smallest, training_BCHW.to(device))
        if trainer.is_global_zero and stage == "fit":
            sizes = f"{len(data.train_indices)} training and {len(data.val_indices)} validation images"
            shape, seen = tuple(example_BCHW.shape[1:]), tuple(training_BCHW.shape[1:])
            crops = "" if seen == shape else f", in training cropped to {seen}"
            print(f"{sizes} of shape {shape}{crops}, {num_classes} classes", flush=True)
            print(f"training images of each class: {counts_of_classes(data)}", flush=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        # Without an epoch's validation, Lightning does not yet know other loaders.
        samples = len(data.val_indices) if isinstance(data, ImageDataModule) else 1
        validates = bool(samples and trainer.limit_val_batches)  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(pl_module, Classifier):
            check_task(pl_module)
        check_optimizers(trainer.optimizers, trainer.world_size)
        check_monitors(trainer, pl_module, trainer.lr_scheduler_configs, validates)
        check_schedules(trainer, trainer.lr_scheduler_configs, trainer.num_training_batches)


def counts_of_classes(data: ImageDataModule) -> str:
    """The number of training images of each class; of many classes, those with the fewest and the most."""
    counts = sorted(zip(data.class_counts().tolist(), data.classes, strict=True), key=lambda pair: pair[0])
    if len(counts) <= 10:
        return ", ".join(f"{name} {count:,}" for count, name in sorted(counts, key=lambda pair: -pair[0]))
    return f"from {counts[0][0]:,} ({counts[0][1]}) to {counts[-1][0]:,} ({counts[-1][1]})"


def smallest_batch(trainer: Trainer, data: ImageDataModule, world_size: int) -> int:
    """The samples of the smallest training batch of a process."""
    if trainer.strategy.root_device.type == "cuda":  # where batch norm is synchronized
        world_size = 1
    sizes = [data.batch_size // world_size]
    if not data.drop_last and trainer.limit_train_batches == 1.0:  # pyright: ignore[reportAttributeAccessIssue]
        last = len(data.train_indices) % data.batch_size
        sizes += [last // world_size, math.ceil(last / world_size)]
    return min((size for size in sizes if size > 0), default=2)  # the loader reports fewer samples than processes


def check_network(
    net: nn.Module, example_BCHW: Tensor, num_classes: int, smallest: int = 2, training_BCHW: Tensor | None = None
) -> None:
    """Runs a network in evaluation and in training mode, without gradients, and restores its state.

    Args:
        net: the network.
        example_BCHW: two images.
        num_classes: K.
        smallest: the samples of the smallest training batch of a process; batch norm fails on one.
        training_BCHW: two images of the size that training sees, if it is another one.

    Raises:
        UserError: if it does not take the images, or does not return one logit per class.
    """
    name, training_BCHW = type(net).__name__, example_BCHW if training_BCHW is None else training_BCHW
    for training, images_BCHW in ((False, example_BCHW), (True, training_BCHW)):
        shape, mode = tuple(images_BCHW.shape), " in training mode" if training else ""
        way_out = "Set its arguments to the size and the channels of the images, or choose another network"
        if images_BCHW.shape != example_BCHW.shape:
            mode += ", to which data.augment crops them"
            seen = tuple(example_BCHW.shape[2:])
            way_out = f"Crop to {seen}, which evaluation sees, or choose a network that takes any size"
        try:
            output = _output(net, images_BCHW, training)
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:
            raise UserError(
                f"model.net ({name}) does not take images of shape {shape}{mode}: {error}. {way_out}"
            ) from error
        if not isinstance(output, Tensor):
            raise UserError(
                f"model.net ({name}) returns {type(output).__name__}{mode}, not a tensor of logits. A network with "
                "auxiliary outputs needs model.net.init_args.aux_logits false; of a network of your own, return the "
                "logits alone"
            )
        if output.shape != (len(example_BCHW), num_classes):
            raise UserError(
                f"model.net ({name}) returns {tuple(output.shape)} for images of shape {shape}{mode}; with "
                f"{num_classes} classes it must return {(len(example_BCHW), num_classes)}. Usually "
                f"model.net.init_args.num_classes has to be {num_classes}"
            )
    if smallest == 1:
        try:
            _output(net, training_BCHW[:1], training=True)
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"model.net ({name}) cannot train on a batch of one image, as a process has it at the end of an epoch: "
                f"{error}. Set data.drop_last true, or another data.batch_size"
            ) from error


def _output(net: nn.Module, images_BCHW: Tensor, training: bool) -> object:
    # Training keeps the modes that the modules have, since a user may have frozen some.
    with torch.no_grad(), torch.random.fork_rng(devices=[]), nullcontext() if training else evaluating(net):
        buffers = [(buffer, buffer.clone()) for buffer in net.buffers()] if training else []
        try:
            return net(images_BCHW)
        finally:
            for buffer, saved in buffers:
                buffer.copy_(saved)


def check_monitors(
    trainer: Trainer, model: LightningModule, schedules: Sequence[LRSchedulerConfig], validates: bool
) -> None:
    """Raises UserError if a callback or a schedule monitors a metric that is not logged.

    Only where all that is logged is known: by a `Classifier`, without code of one's own that logs.
    """
    callbacks: list[Callback] = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
    if not isinstance(model, Classifier) or any(_logs(type(own)) for own in (model, *callbacks)):
        return
    training, validation = ([str(name) for name in own] for own in (model.train_metrics, model.val_metrics))
    names = training + validation if validates else training
    for config in schedules:
        if isinstance(config.scheduler, ReduceLROnPlateau):
            _check_monitor(config.scheduler, str(config.monitor), names, validates)
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if isinstance(callback, RunCheckpoints):  # without validation it has nothing to monitor
            _check_monitor(callback, callback.monitor_of(model), validation, validates=True)
        elif isinstance(monitor, str) and getattr(callback, "strict", True):
            _check_monitor(callback, monitor, names, validates)


def _check_monitor(owner: object, monitor: str, names: list[str], validates: bool) -> None:
    if monitor in names:
        return
    way_out = did_you_mean(monitor, names, cutoff=0.5)
    if not validates and monitor.startswith("val"):
        way_out = "there is no validation, for which data.val_fraction and trainer.limit_val_batches must be above 0"
    raise UserError(f"{type(owner).__name__} monitors {monitor}, which is not logged; {way_out}")


def _logs(class_: type) -> bool:
    """Whether a method of a class, other than those of `Classifier` and of Lightning, calls `log` or `log_dict`."""
    own = [base for base in class_.__mro__ if base is not Classifier and base.__module__.split(".")[0] != "lightning"]
    functions = [value for base in own for value in vars(base).values() if inspect.isfunction(value)]
    return any({"log", "log_dict"} & set(function.__code__.co_names) for function in functions)


def check_optimizers(optimizers: Sequence[Optimizer], world_size: int) -> None:
    """Raises UserError if several processes would wait for each other without end."""
    if world_size > 1 and any(isinstance(optimizer, torch.optim.LBFGS) for optimizer in optimizers):
        raise UserError(
            "LBFGS evaluates gradients in a step as often as the loss of its own process demands, so several processes "
            "would wait for each other without end; set trainer.devices and trainer.num_nodes to 1"
        )


def check_schedules(trainer: Trainer, schedules: Sequence[LRSchedulerConfig], batches: float) -> None:
    """Raises UserError if a schedule fails at one of its steps in epochs of so many batches: a copy takes them all, if
    their number is known."""
    callbacks: list[Callback] = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
    if any(isinstance(own, GradientAccumulationScheduler) and len(own.scheduling) > 1 for own in callbacks):
        return
    steps_per_epoch = math.ceil(batches / trainer.accumulate_grad_batches) if math.isfinite(batches) else math.inf
    epochs = math.inf if trainer.max_epochs in (None, -1) else trainer.max_epochs
    steps = min(steps_per_epoch * epochs, math.inf if trainer.max_steps == -1 else trainer.max_steps)
    for config in schedules:
        if config.reduce_on_plateau:  # steps with a metric
            continue
        by_step = config.interval == "step"
        total = steps if by_step else steps // steps_per_epoch
        if isinstance(config.scheduler, LRScheduler) and math.isfinite(total):
            done = trainer.global_step if by_step else trainer.current_epoch
            _check_schedule(config.scheduler, done, int(total))


def _check_schedule(scheduler: LRScheduler, done: int, total: int) -> None:
    parameters = [parameter for group in scheduler.optimizer.param_groups for parameter in group["params"]]
    states = [value for state in scheduler.optimizer.state.values() for value in state.values()]
    shared = {id(one): one for one in (*parameters, *states)}  # not copied
    trial = copy.deepcopy(scheduler, shared)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the optimizer has not stepped
        for step in range(done, total):
            try:
                trial.step()
            except ValueError as error:
                raise UserError(
                    f"the schedule {type(scheduler).__name__} fails at step {step + 1} of {total}: {error}. It steps "
                    f"{total} times in this training: set its length to that, or model.lr_interval"
                ) from error
