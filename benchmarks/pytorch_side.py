"""A plain PyTorch loop that trains a notebook's network, as a side whose turns are epochs.

Channels-last, batched augmentation, and nothing else: normalized images in memory, no metrics, no logs, no checks, no
checkpoints. Its layers are those of this project, or torch's alone, as a user writes them without it.

    python -m benchmarks.pytorch_side RECIPE DATA_DIR PRECISION STEPS LAYERS
"""

from __future__ import annotations

import sys

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.notebooks import BATCH, FITS
from benchmarks.turns import Turns
from src.data import CIFAR10
from src.data.augment import ImageDataGenerator, PreprocessingLayers
from src.data.augment.augmentation import Augmentation
from src.models import DeepCNN, SimpleCNN
from src.models.dropout import Dropout


def build(recipe: str) -> tuple[nn.Sequential, list[Augmentation]]:
    """The network and the augmentation of a recipe."""
    fourth_conv, augmentation, parameters = FITS[recipe]
    net = DeepCNN(fourth_conv=fourth_conv) if fourth_conv else SimpleCNN()
    assert sum(p.numel() for p in net.parameters()) == parameters
    return net, {"layers": [PreprocessingLayers()], "generator": [ImageDataGenerator()], None: []}[augmentation]


def torch_layers(net: nn.Sequential, dropout: bool = True, pooling: bool = True) -> nn.Sequential:
    """A notebook's network with torch's `dropout`, and with `pooling` after the ReLU as the notebooks write it."""
    layers = list(net)
    for i, layer in enumerate(net):
        if isinstance(layer, Dropout) and dropout:
            layers[i] = nn.Dropout(layer.p)
        if isinstance(layer, nn.MaxPool2d) and pooling:
            layers[i], layers[i + 1] = layers[i + 1], layer
    return nn.Sequential(*layers)


def main(recipe: str, data_dir: str, precision: str, steps: int, layers: str) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images_NHWC, labels_N = CIFAR10(data_dir).read("train")
    images_NCHW = images_NHWC.to(device).permute(0, 3, 1, 2).float().div_(255)  # a channels-last view
    labels_N = labels_N.to(device)
    net, augmentations = build(recipe)
    net = torch_layers(net) if layers == "torch" else net
    net = net.to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-3, alpha=0.9, eps=1e-7)
    turns = Turns()
    while True:
        turns.next()
        order_N = torch.randperm(len(labels_N), device=device)
        for indices_B in order_N[: steps * BATCH].split(BATCH):
            images_BCHW = images_NCHW[indices_B]
            for augment in augmentations:
                uniform_BK = torch.rand(len(indices_B), augment.num_uniforms, device=device)
                images_BCHW = augment(images_BCHW, uniform_BK, 0).contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
                logits_BK = net(images_BCHW)
            loss = F.cross_entropy(logits_BK.float(), labels_N[indices_B])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
