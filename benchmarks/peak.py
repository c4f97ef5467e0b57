"""The fraction of the processor's peak that each part of a training step reaches, in float32.

    python -m benchmarks.peak --data_dir DIR

The peak is that of a product of two 2048 x 2048 matrices, measured before each step. The floating-point operations are
those of convolutions and matrix products, counted by torch; the rest of a step has none.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import report
from benchmarks.notebooks import BATCH, FITS
from benchmarks.pytorch_side import build
from benchmarks.steps import data_of
from src.data import CIFAR10
from src.runtime import cpu

SIDE = 2048  # of the matrices


class Step:
    """A training step in three parts, with the milliseconds of each."""

    def __init__(self, recipe: str, data_dir: str, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.data = data_of(recipe, data_dir)
        self.data.setup("fit")
        self.net = build(recipe)[0].to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.optimizer = torch.optim.RMSprop(self.net.parameters(), lr=1e-3, alpha=0.9, eps=1e-7)

    def milliseconds(self, work: Callable[[], object]) -> float:
        started = self.clock()
        work()
        return 1000 * (self.clock() - started)

    def __call__(self) -> tuple[float, float, float]:
        """Milliseconds of forward, backward and the rest: input, augmentation, loss and optimizer."""
        images_BCHW, labels_B, loss = Tensor(), Tensor(), Tensor()

        def read() -> None:
            nonlocal images_BCHW, labels_B
            images_NHWC, labels_N = self.data.image_set("train")
            indices_B = torch.randint(len(labels_N), (BATCH,))
            images_BCHW = images_NHWC.index_select(0, indices_B).permute(0, 3, 1, 2).float().div_(255)
            images_BCHW = self.data.augment_images(images_BCHW, indices_B, 0)
            images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
            labels_B = labels_N.index_select(0, indices_B)

        def forward() -> None:
            nonlocal loss
            loss = F.cross_entropy(self.net(images_BCHW), labels_B)

        rest = self.milliseconds(read)
        in_forward = self.milliseconds(forward)
        in_backward = self.milliseconds(lambda: loss.backward())
        rest += self.milliseconds(self.optimizer.step)
        self.optimizer.zero_grad()
        return in_forward, in_backward, rest


def flops(net: nn.Module) -> tuple[int, int]:
    """Floating-point operations of the convolutions and matrix products of a step: forward and backward."""
    with FlopCounterMode(display=False) as counter:
        loss = net(torch.zeros(BATCH, 3, 32, 32)).sum()
    forward = counter.get_total_flops()
    with FlopCounterMode(display=False) as counter:
        loss.backward()
    net.zero_grad()
    return forward, counter.get_total_flops()


def row(recipe: str, data_dir: str, rounds: int, clock: Callable[[], float]) -> list[object]:
    """Milliseconds of each part, and the fractions of the peak: forward, backward, and all of the step."""
    step, matrix = Step(recipe, data_dir, clock), torch.rand(SIDE, SIDE)
    for _ in range(3):
        step()
    peaks, took = [], []
    for _ in range(rounds):
        peaks.append(2 * SIDE**3 / step.milliseconds(lambda: matrix @ matrix))  # per ms
        step()  # after the matrices, the caches of the processor are cold
        took.append(step())
    peak, parts = statistics.median(peaks), [statistics.median(part) for part in zip(*took, strict=True)]
    counts = flops(step.net)
    reached = [*(count / of / peak for count, of in zip(counts, parts, strict=False)), sum(counts) / sum(parts) / peak]
    return [recipe, f"{peak / 1e6:.0f}", *(f"{part:.1f}" for part in parts), *reached]


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--recipes", nargs="+", default=list(FITS), choices=list(FITS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--clock", default="wall", choices=["wall", "processor"], help="processor: for busy machines")
    arguments = parser.parse_args()
    cpu.configure()
    CIFAR10(arguments.data_dir).prepare_data()
    clock = time.perf_counter if arguments.clock == "wall" else time.process_time
    rows = [row(recipe, arguments.data_dir, arguments.rounds, clock) for recipe in arguments.recipes]
    header = ["recipe", "peak, GFLOP/s", "forward, ms", "backward, ms", "rest, ms"]
    print(report.table([*header, "forward / peak", "backward / peak", "step / peak"], rows))
    print(f"\n{arguments.clock} clock, {arguments.rounds} rounds. {report.conditions()}")


if __name__ == "__main__":
    main()
