"""What each part of a training step brings: the step with all of them, and with each replaced by the usual one.

    python -m benchmarks.parts --data_dir DIR

The steps of all variants take turns in one process, `--steps` of each at a time, in a new order every round. The ratio
is that of a round, of which the median is printed: 1.10 means that without this part a step takes 1.10 of the time.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.notebooks import BATCH, FITS, SHORT
from benchmarks.steps import parts
from benchmarks.table import conditions, table
from src.data import CIFAR10
from src.data.augment import keras
from src.data.augment.augmentation import Fill
from src.models.dropout import Dropout
from src.runtime import cpu
from src.runtime.precision import native_precision


class Parts(NamedTuple):
    """Whether a step has each part."""

    bf16: bool = native_precision() == "bf16-mixed"
    channels_last: bool = True
    pooled_before_relu: bool = True
    dropout_by_bytes: bool = True
    grid_by_broadcasting: bool = True
    index_select: bool = True


def usual_affine(images_BCHW: Tensor, matrix_B33: Tensor, fill: Fill = "nearest", value: float = 0) -> Tensor:
    """`affine` by `F.affine_grid`; square images, value 0."""
    by_xy_B23 = matrix_B33[:, :2].flip(1)[:, :, [1, 0, 2]]
    half = images_BCHW.shape[-1] / 2
    theta_B23 = torch.cat([by_xy_B23[..., :2], by_xy_B23[..., 2:] / half], dim=-1)
    grid_BHW2 = F.affine_grid(theta_B23, list(images_BCHW.shape), align_corners=False)
    padding = {"nearest": "border", "reflect": "reflection", "constant": "zeros"}[fill]
    return F.grid_sample(images_BCHW, grid_BHW2, padding_mode=padding, align_corners=False)


def changed(net: nn.Module, with_parts: Parts) -> nn.Module:
    """The network with its usual parts."""
    assert isinstance(net, nn.Sequential)
    layers = list(net)
    for i, layer in enumerate(net):
        if isinstance(layer, Dropout) and not with_parts.dropout_by_bytes:
            layers[i] = nn.Dropout(layer.p)
        if isinstance(layer, nn.MaxPool2d) and not with_parts.pooled_before_relu:
            layers[i], layers[i + 1] = layers[i + 1], layer
    memory = torch.channels_last if with_parts.channels_last else torch.contiguous_format
    return nn.Sequential(*layers).to(memory_format=memory)  # pyright: ignore[reportCallIssue]


def steps(recipe: str, data_dir: str, with_parts: Parts) -> Iterator[None]:
    """Takes a training step each time it is asked."""
    torch.manual_seed(0)
    model, data = parts(recipe, data_dir)
    data.setup("fit")
    images_NHWC, labels_N = data.image_set("train")
    net = changed(model.net, with_parts)
    optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-3, alpha=0.9, eps=1e-7)
    while True:
        for batch_B in torch.randperm(len(labels_N)).split(BATCH):
            gathered_BHWC = images_NHWC.index_select(0, batch_B) if with_parts.index_select else images_NHWC[batch_B]
            images_BCHW = gathered_BHWC.permute(0, 3, 1, 2).float().div_(255)
            affine = keras.affine
            if not with_parts.grid_by_broadcasting:
                keras.affine = usual_affine
            images_BCHW = data.augment_images(images_BCHW, batch_B, 0)
            keras.affine = affine
            memory = torch.channels_last if with_parts.channels_last else torch.contiguous_format
            images_BCHW = images_BCHW.contiguous(memory_format=memory)
            with torch.autocast("cpu", torch.bfloat16, enabled=with_parts.bf16):
                logits_BK = net(images_BCHW)
            loss = F.cross_entropy(logits_BK.float(), labels_N.index_select(0, batch_B))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield


def compare(recipe: str, data_dir: str, count: int, rounds: int) -> Iterator[list[object]]:
    """A row for the step with everything, and for each part."""
    everything = Parts()
    taken_out = [name for name, there in everything._asdict().items() if there]
    if not FITS[recipe].augmentation:
        taken_out.remove("grid_by_broadcasting")
    variants = {"all": everything} | {name: everything._replace(**{name: False}) for name in taken_out}
    sides = {name: steps(recipe, data_dir, with_parts) for name, with_parts in variants.items()}
    order, took = list(sides), {name: [] for name in sides}
    for number in range(-1, rounds):
        random.Random(number).shuffle(order)
        for name in order:
            next(sides[name])  # the first after another's finds the processor's caches full of other things
            seconds = clock(lambda name=name: [next(sides[name]) for _ in range(count)])
            if number >= 0:
                took[name].append(1000 * seconds / count)
    for name, milliseconds in took.items():
        against = statistics.median(here / all_ for here, all_ in zip(milliseconds, took["all"], strict=True))
        yield [recipe, f"without {name}" if name != "all" else "all", f"{statistics.median(milliseconds):.1f}", against]


def clock(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", default="data", help="where CIFAR-10 lies")
    parser.add_argument("--recipes", nargs="+", default=SHORT, choices=list(FITS))
    parser.add_argument("--steps", type=int, default=10, help="of a turn")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    cpu.configure()
    CIFAR10(arguments.data_dir).prepare_data()
    rows = []
    for recipe in arguments.recipes:
        rows += compare(recipe, arguments.data_dir, arguments.steps, arguments.rounds)
    print(f"{table(['recipe', 'a step', 'ms', 'times'], rows)}\n\n{conditions()}")


if __name__ == "__main__":
    main()
