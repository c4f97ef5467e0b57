"""A plain PyTorch loop over images in memory, as a side that takes turns of an epoch.

It has what makes a loop fast, the project's network with channels last included, and nothing else: the images
lie as normalized floats, nothing is measured, logged, checked or saved.

    python -m benchmarks.pytorch_side RECIPE DATA_DIR PRECISION STEPS
"""

from __future__ import annotations

import sys

import torch
import torch.nn.functional as F

from benchmarks.notebooks import BATCH, FITS
from benchmarks.turns import Turns
from src.data import CIFAR10
from src.data.augment import ImageDataGenerator, PreprocessingLayers
from src.models import DeepCNN, SimpleCNN


def main(recipe: str, data_dir: str, precision: str, steps: int) -> None:
    """Trains until it is stopped."""
    fourth_conv, augmentation, parameters = FITS[recipe]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images_NHWC, labels_N = CIFAR10(data_dir).read("train")
    images_NCHW = images_NHWC.to(device).permute(0, 3, 1, 2).float().div_(255)  # channels last, as it is a view
    labels_N = labels_N.to(device)
    augment = {"layers": PreprocessingLayers, "generator": ImageDataGenerator, None: None}[augmentation]
    augment = augment() if augment else None
    net = DeepCNN(fourth_conv=fourth_conv) if fourth_conv else SimpleCNN()
    net = net.to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    assert sum(p.numel() for p in net.parameters()) == parameters
    optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-3, alpha=0.9, eps=1e-7)
    turns = Turns()
    while True:
        turns.next()
        order_N = torch.randperm(len(labels_N), device=device)
        for batch_B in order_N[: steps * BATCH].split(BATCH):
            images_BCHW = images_NCHW[batch_B]
            if augment:
                images_BCHW = augment(images_BCHW, torch.rand(len(batch_B), augment.draws, device=device), 0)
                images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
                logits_BK = net(images_BCHW)
            loss = F.cross_entropy(logits_BK.float(), labels_N[batch_B])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
