"""Checks of a configuration: dataset, batches, network, optimizer and checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities.types import LRSchedulerConfig
from lightning_utilities.core.apply_func import apply_to_collection

from src import rng
from src.classifier import Classifier
from src.cli.doctor import machine
from src.cli.doctor.finding import Note
from src.data import ImageDataModule
from src.data.index_loader import IndexLoader
from src.errors import UserError
from src.models.class_activation import evaluating
from src.runtime import run_directory
from src.runtime.optimizer_modes import has_modes
from src.runtime.preflight import check_monitors, check_network, check_schedules, smallest_batch
from src.runtime.task_check import check_task
from src.runtime.trainer import Trainer


def dataset(data: ImageDataModule) -> str:
    """Whether the dataset is there and intact; writes nothing."""
    name = type(data).__name__
    data.cache_writable = False
    if missing := data.pending_preparation():
        return Note(f"{name} is not there yet; fit will first {missing.work}")
    data.setup("fit")
    train = data.image_set("train").images_NHWC
    test = f" + {len(data.image_set('test').images_NHWC):,}" if data.has_test else ""
    place = f" in {folder}" if (folder := getattr(data, "data_dir", None)) else ""
    shape = " x ".join(map(str, train.shape[1:]))
    return f"{name}{place}: {len(train):,}{test} images of {shape}, {data.num_classes} classes, intact"


def dataset_bytes(data: ImageDataModule) -> int:
    """Bytes of the decoded images and labels."""
    return _bytes([data.image_set(subset) for subset in (("train", "test") if data.has_test else ("train",))])


def batches(data: ImageDataModule, world_size: int) -> str:
    steps = len(IndexLoader(data.train_indices, data.batch_size, world_size=world_size, drop_last=data.drop_last))
    text = f"{len(data.train_indices):,} training images in batches of {data.batch_size}: {steps} steps per epoch"
    if not steps:
        raise UserError(f"{text}; lower data.batch_size, or set data.drop_last to false")
    return f"{text}, {data.batch_size // world_size} images per process"


def network(trainer: Trainer, model: Classifier, data: ImageDataModule, world_size: int) -> str:
    """Whether the network takes the images and returns one logit per class, also in training mode."""
    example_2CHW = data.example_images(2)
    smallest = smallest_batch(trainer, data, world_size)
    check_network(model.net, example_2CHW, data.num_classes, smallest, data.example_training_images(2))
    parameters = sum(parameter.numel() for parameter in model.net.parameters())
    shapes = f"{tuple(example_2CHW.shape)} to (2, {data.num_classes})"
    return f"{type(model.net).__name__}, {parameters:,} parameters: {shapes}"


def memory_format(model: Classifier, data: ImageDataModule) -> str:
    """Whether output and gradients of random images equal those of the contiguous network, which it is then: some
    versions of oneDNN compute a convolution wrongly in channels-last."""
    images_BCHW = torch.rand(data.example_images(8).shape, generator=rng.generator(0, rng.Stream.IMAGES))
    found = _output_and_gradients(model.net, images_BCHW.to(memory_format=torch.channels_last))
    model.net.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    expected = _output_and_gradients(model.net, images_BCHW)
    scale = max(float(tensor.norm()) for name, tensor in expected.items() if name)
    for name, tensor in expected.items():
        if (found[name] - tensor).norm() > 1e-2 * max(tensor.norm(), 1e-3 * scale):
            what = f"the gradient of {name}" if name else "the output"
            raise UserError(
                f"{what} differs between channels-last and contiguous images; update torch, or set the environment "
                "variable ONEDNN_MAX_CPU_ISA to SSE41"
            )
    return "output and gradients of channels-last images equal those of contiguous ones"


def _output_and_gradients(net: torch.nn.Module, images_BCHW: torch.Tensor) -> dict[str, torch.Tensor]:
    """By the name of the parameter; the output's is empty."""
    with evaluating(net):  # dropout samples in the order of the memory
        output_BK = net(images_BCHW)
    output_BK.logsumexp(1).sum().backward()
    gradients = {name: parameter.grad for name, parameter in net.named_parameters() if parameter.grad is not None}
    net.zero_grad()
    return {"": output_BK.detach(), **gradients}


def schedule(trainer: Trainer, model: Classifier, data: ImageDataModule) -> str:
    """Whether the learning-rate schedule lasts as long as the training, and monitored metrics are logged."""
    configured = model.configure_optimizers()
    schedules = [LRSchedulerConfig(**configured["lr_scheduler"])] if isinstance(configured, dict) else []
    batches = len(IndexLoader(data.train_indices, data.batch_size, drop_last=data.drop_last))
    limit = trainer.limit_train_batches  # pyright: ignore[reportAttributeAccessIssue]
    batches = min(limit, batches) if isinstance(limit, int) else int(limit * batches)
    validates = bool(len(data.val_indices) and trainer.limit_val_batches)  # pyright: ignore[reportAttributeAccessIssue]
    check_monitors(trainer, model, schedules, validates)
    check_schedules(trainer, schedules, batches)
    return type(schedules[0].scheduler).__name__ if schedules else "constant learning rate"


def task(model: Classifier) -> str:
    """Whether the loss and the metrics take what they get."""
    check_task(model)
    loss = "cross-entropy" if model.loss is None else getattr(model.loss, "__name__", type(model.loss).__name__)
    return ", ".join([loss, *model.own_metrics])


def optimizer(model: Classifier) -> str:
    return f"{machine.size(optimizer_bytes(model))} of state"


def optimizer_bytes(model: Classifier) -> int:
    """Bytes of the optimizer's state after a step, which may change the weights."""
    configured = model.configure_optimizers()
    optimizer = configured["optimizer"] if isinstance(configured, dict) else configured
    if has_modes(optimizer):
        optimizer.train()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(lambda: torch.zeros(()))
    return _bytes(optimizer.state_dict())


def checkpoint_disk(model: Classifier, directory: Path, averaged: bool) -> str:
    """Whether best.ckpt, last.ckpt, previous.ckpt and a fourth that is being written fit on the disk; a checkpoint of
    averaged weights holds both."""
    missing = 4 - len(list((directory / run_directory.CHECKPOINTS).glob("*.ckpt")))
    needed = missing * (_bytes(model.state_dict()) * (2 if averaged else 1) + optimizer_bytes(model))
    return machine.disk(directory, needed, f"{missing} checkpoints")


def _bytes(content: Any) -> int:
    """Of all tensors."""
    sizes: list[int] = []
    apply_to_collection(content, torch.Tensor, lambda tensor: sizes.append(tensor.nbytes))
    return sum(sizes)
