"""What is checked before the first step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from src.errors import UserError


class PreflightCheck(Callback):
    """Checks before training that the network takes the images of the dataset and returns one logit per class."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        net = getattr(pl_module, "net", None)
        if stage != "fit" or data is None or not isinstance(net, nn.Module):
            return
        example_BCHW = data.example_images(2).to(pl_module.device, pl_module.dtype)
        check_network(net, example_BCHW, data.num_classes)
        if trainer.is_global_zero:
            sizes = f"{len(data.train_indices)} training and {len(data.val_indices)} validation images"
            print(f"{sizes} of shape {tuple(example_BCHW.shape[1:])}, {data.num_classes} classes", flush=True)


def check_network(net: nn.Module, example_BCHW: Tensor, num_classes: int) -> None:
    """Runs a network once in evaluation mode.

    Raises:
        UserError: if it does not take the images, or does not return one logit per class.
    """
    name, shape = type(net).__name__, tuple(example_BCHW.shape)
    try:
        with torch.no_grad(), evaluating(net):
            output = net(example_BCHW)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise UserError(
            f"model.net ({name}) does not take images of shape {shape}: {error}. Set its arguments to the size and the "
            "channels of the images, or choose another network"
        ) from error
    if not isinstance(output, Tensor) or output.shape != (len(example_BCHW), num_classes):
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UserError(
            f"model.net ({name}) returns {got} for images of shape {shape}; with {num_classes} classes it must return "
            f"{(len(example_BCHW), num_classes)}. Usually model.net.init_args.num_classes has to be {num_classes}"
        )


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Sets a network to evaluation mode, and afterwards each of its modules to the mode that it had."""
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
