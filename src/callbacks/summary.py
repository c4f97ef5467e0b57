"""What is trained on what, printed before training as the notebooks do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from src.callbacks.tensorboard import writer
from src.errors import UserError


class Summary(Callback):
    """Prints the shapes of the data and the layers of the network, and logs the network's graph."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Runs the network once on an empty picture, in evaluation mode."""
        data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        net = getattr(pl_module, "net", None)
        if data is None or not isinstance(net, nn.Module):
            return
        height, width, channels = data.image_set("train").images_NHWC.shape[1:]
        example_1CHW = torch.zeros(1, channels, height, width, device=pl_module.device).to(pl_module.dtype)
        rows = layers(net, example_1CHW, data.num_classes)
        if not trainer.is_global_zero:
            return
        print(f"training pictures ({len(data.train_indices)}, {channels}, {height}, {width})", end="")
        print(f", validation pictures {len(data.val_indices)}, {data.num_classes} classes")
        print(as_table(rows, sum(p.numel() for p in net.parameters())), flush=True)
        if board := writer(trainer):
            with evaluating(net):
                board.add_graph(net, example_1CHW)


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Puts a network into evaluation mode, and each of its parts back into the one that it was in."""
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def layers(net: nn.Module, example_1CHW: Tensor, num_classes: int) -> list[tuple[str, str, str, int]]:
    """Name, type, output shape and parameter count of a network's parts, the output shape of its last checked.

    Raises:
        UserError: if the network cannot take the pictures, or does not give one logit a class.
    """
    rows: dict[str, tuple[str, str, str, int]] = {}
    hooks = []
    outer = net
    while len(children := list(outer.children())) == 1 and list(children[0].children()):
        outer = children[0]  # a wrapper says nothing of the layers
    for name, part in outer.named_children():

        def note(module: nn.Module, inputs: object, output: object, name: str = name) -> None:
            shape = str(tuple(output.shape)) if isinstance(output, Tensor) else ""
            rows[name] = (name, type(module).__name__, shape, sum(p.numel() for p in module.parameters()))

        hooks.append(part.register_forward_hook(note))
    try:
        with torch.no_grad(), evaluating(net):
            output = net(example_1CHW)
    except (RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"model.net ({type(net).__name__}) cannot take pictures of shape {tuple(example_1CHW.shape)}: {error}. "
            "Set its arguments to the size and channels of the data, or choose another network"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(output, Tensor) or output.shape != (1, num_classes):
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UserError(
            f"model.net ({type(net).__name__}) gives {got} for one picture; with {num_classes} classes it must "
            f"give (1, {num_classes}). Usually model.net.init_args.num_classes has to be set to {num_classes}"
        )
    return list(rows.values())


def as_table(rows: list[tuple[str, str, str, int]], total: int) -> str:
    """The layers one below the other."""
    cells = [("layer", "type", "output", "parameters"), *((a, b, c, f"{n:,}") for a, b, c, n in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:<{widths[2]}}  {n:>{widths[3]}}".rstrip() for a, b, c, n in cells]
    return "\n".join([*lines, f"{total:,} parameters"])
