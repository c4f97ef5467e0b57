"""What each part of a training step brings: the step with all parts, and without each of them.

    python -m benchmarks.parts --data_dir DIR

The variants take turns of `--steps` steps in one process, in a new order every round. Printed is the median over the
rounds of the ratio to the step with all parts: 1.10 means that without this part a step takes 1.10 times as long.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import report
from benchmarks.notebooks import BATCH, FITS, SHORT
from benchmarks.pytorch_side import build, torch_layers
from benchmarks.steps import data_of
from src.data import CIFAR10
from src.data.augment import keras
from src.data.augment.affine import PADDING_MODES
from src.data.augment.augmentation import Fill
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


def affine_by_grid(images_BCHW: Tensor, matrix_B33: Tensor, fill: Fill = "nearest", value: float = 0) -> Tensor:
    """`affine` with `F.affine_grid`, for square images and value 0."""
    by_xy_B23 = matrix_B33[:, :2].flip(1)[:, :, [1, 0, 2]]
    theta_B23 = torch.cat([by_xy_B23[..., :2], by_xy_B23[..., 2:] / (images_BCHW.shape[-1] / 2)], dim=-1)
    grid_BHW2 = F.affine_grid(theta_B23, list(images_BCHW.shape), align_corners=False)
    return F.grid_sample(images_BCHW, grid_BHW2, padding_mode=PADDING_MODES[fill], align_corners=False)


def network(net: nn.Sequential, parts: Parts) -> nn.Module:
    """The network with torch's dropout, or pooling after the ReLU, in place of the missing parts."""
    layers = torch_layers(net, dropout=not parts.dropout_by_bytes, pooling=not parts.pooled_before_relu)
    memory = torch.channels_last if parts.channels_last else torch.contiguous_format
    return layers.to(memory_format=memory)  # pyright: ignore[reportCallIssue]


def steps(recipe: str, data_dir: str, parts: Parts) -> Iterator[None]:
    """Computes a training step at each `next`."""
    torch.manual_seed(0)
    data = data_of(recipe, data_dir)
    data.setup("fit")
    images_NHWC, labels_N = data.image_set("train")
    net = network(build(recipe)[0], parts)
    optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-3, alpha=0.9, eps=1e-7)
    memory = torch.channels_last if parts.channels_last else torch.contiguous_format
    affine = keras.affine
    while True:
        for indices_B in torch.randperm(len(labels_N)).split(BATCH):
            images_BHWC = images_NHWC.index_select(0, indices_B) if parts.index_select else images_NHWC[indices_B]
            images_BCHW = images_BHWC.permute(0, 3, 1, 2).float().div_(255)
            keras.affine = affine if parts.grid_by_broadcasting else affine_by_grid
            images_BCHW = data.augment_images(images_BCHW, indices_B, 0).contiguous(memory_format=memory)
            keras.affine = affine
            with torch.autocast("cpu", torch.bfloat16, enabled=parts.bf16):
                logits_BK = net(images_BCHW)
            loss = F.cross_entropy(logits_BK.float(), labels_N.index_select(0, indices_B))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield


def compare(recipe: str, data_dir: str, count: int, rounds: int) -> Iterator[list[object]]:
    """One row for the step with all parts, and one without each."""
    parts = Parts()
    removed = [name for name, present in parts._asdict().items() if present]
    if not FITS[recipe].augmentation:
        removed.remove("grid_by_broadcasting")
    variants = {"all": parts} | {f"without {name}": parts._replace(**{name: False}) for name in removed}
    sides = {name: steps(recipe, data_dir, variant) for name, variant in variants.items()}
    order, took = list(sides), {name: [] for name in sides}
    for number in range(-1, rounds):
        random.Random(number).shuffle(order)
        for name in order:
            next(sides[name])  # after another variant, the caches of the processor are cold
            started = time.perf_counter()
            for _ in range(count):
                next(sides[name])
            if number >= 0:
                took[name].append(1000 * (time.perf_counter() - started) / count)
    for name, milliseconds in took.items():
        ratio = statistics.median(own / with_all for own, with_all in zip(milliseconds, took["all"], strict=True))
        yield [recipe, name, f"{statistics.median(milliseconds):.1f}", ratio]


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--recipes", nargs="+", default=SHORT, choices=list(FITS))
    parser.add_argument("--steps", type=int, default=10, help="of a turn")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    cpu.configure()
    CIFAR10(arguments.data_dir).prepare_data()
    rows = []
    for recipe in arguments.recipes:
        rows += compare(recipe, arguments.data_dir, arguments.steps, arguments.rounds)
    print(f"{report.table(['recipe', 'step', 'ms', 'ratio'], rows)}\n\n{report.conditions()}")


if __name__ == "__main__":
    main()
