"""How far data parallelism carries each network, on paper.

    python -m benchmarks.scaling

A step of n GPUs takes the time of its compute, forward and backward of batch / n images, plus that of a ring all-reduce
of the gradients in float32: 2 (n - 1) / n times their bytes over the bandwidth of a GPU's link, and 2 (n - 1)
latencies. Nothing overlaps, so the efficiency is a lower bound: DDP reduces the first buckets while backward goes on,
and NCCL takes trees between many nodes. Backward counts as twice the forward.

Assumed: a GPU reaches 100 TFLOP/s in bf16, a tenth of an H100's peak (NVIDIA's data sheet: 989 dense); a network that
reaches less computes longer, and its efficiency is higher than here. Links: NVLink 4 (450 GB/s in each direction,
5 us), InfiniBand NDR (400 Gbit/s, 10 us), Ethernet (25 Gbit/s, 50 us).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models as torchvision_models

from benchmarks import report
from src import models

FLOPS = 100e12
LINKS = {"NVLink": (450e9, 5e-6), "InfiniBand": (50e9, 10e-6), "Ethernet": (3.1e9, 50e-6)}
COUNTS = [2**k for k in range(1, 11)]


def networks() -> dict[str, tuple[nn.Module, int, int]]:
    """Network, image size, global batch."""
    return {
        "SimpleCNN": (models.SimpleCNN(), 32, 128),
        "DeepCNN": (models.DeepCNN(), 32, 128),
        "SpeedNet": (models.SpeedNet(), 32, 512),
        "CIFARResNet18": (models.CIFARResNet18(), 32, 512),
        "ResNet-50, 224 pixels": (torchvision_models.resnet50(), 224, 256),
    }


def flops_of_an_image(net: nn.Module, size: int) -> float:
    """Of forward and backward; a multiply-add is two."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(torch.zeros(1, 3, size, size))
    return 3 * counter.get_total_flops()


def efficiency(flops: float, gradient_bytes: float, count: int, bandwidth: float, latency: float) -> float:
    """The fraction of a step of `count` GPUs that is compute.

    Args:
        flops: of a GPU in the step.
        gradient_bytes: of all gradients.
        count: of GPUs.
        bandwidth: of a link, in bytes per second.
        latency: of a message, in seconds.
    """
    compute = flops / FLOPS
    reduction = 2 * (count - 1) / count * gradient_bytes / bandwidth + 2 * (count - 1) * latency
    return compute / (compute + reduction)


def largest(flops_of_batch: float, gradient_bytes: float, link: str, strong: bool) -> int:
    """The most GPUs with which at least half of a step is compute: with the batch shared among them (strong), or with
    a batch for each (weak)."""
    fit = [
        count
        for count in COUNTS
        if efficiency(flops_of_batch / (count if strong else 1), gradient_bytes, count, *LINKS[link]) >= 0.5
    ]
    return max(fit, default=1)


def main() -> None:
    rows = []
    for name, (net, size, batch) in networks().items():
        flops = flops_of_an_image(net, size)
        gradient_bytes = 4 * sum(parameter.numel() for parameter in net.parameters())
        row: list[object] = [name, f"{flops / 6e6:,.0f}", f"{gradient_bytes / 1e6:.1f}", batch]
        for link in LINKS:
            row += [f"{largest(batch * flops, gradient_bytes, link, strong)}" for strong in (True, False)]
        rows.append(row)
    header = ["network", "million multiply-adds", "MB of gradients", "batch"]
    print(report.table([*header, *(f"{link}, {kind}" for link in LINKS for kind in ("strong", "weak"))], rows))


if __name__ == "__main__":
    main()
