"""A residual network for small pictures.

Shapes: B pictures, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512)
BLOCKS = 2  # a stage


class CIFARResNet18(nn.Module):
    """ResNet-18 with a stem for 32 x 32 pictures; 11,173,962 parameters for CIFAR-10.

    The network of He et al. 2016, "Deep Residual Learning for Image Recognition", arXiv 1512.03385, table 1,
    whose 7 x 7 convolution of stride 2 and max pool would leave 1 x 1 of these pictures: here a 3 x 3
    convolution stands for both, and the last stage sees 4 x 4 pixels. KellerJordan/cifar10-airbench gives
    96 % for its standard training.
    """

    def __init__(self, num_classes: int = 10, channels: int = 3, zero_init: bool = False) -> None:
        """
        Args:
            num_classes: number of logits.
            channels: of the pictures, whose size may be any.
            zero_init: start the gain of each block's last batch norm at zero, so that every block begins as
                the identity (Goyal et al. 2017, "Accurate, Large Minibatch SGD", arXiv 1706.02677).

        Raises:
            ValueError: if a number is less than 1.
        """
        super().__init__()
        for name, value in {"num_classes": num_classes, "channels": channels}.items():
            if value < 1:
                raise ValueError(f"{name} {value} must be at least 1")
        self.stem = nn.Sequential(_conv(channels, WIDTHS[0]), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU())
        self.stages = nn.Sequential(*[_stage(*sizes) for sizes in zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False)])
        self.head = nn.Linear(WIDTHS[-1], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if zero_init and isinstance(module, _Block):
                nn.init.zeros_(module.norm2.weight)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits (B, K) of normalized pictures."""
        features_BCHW = self.stages(self.stem(images_BCHW))
        return self.head(features_BCHW.mean(dim=(2, 3)))


class _Block(nn.Module):
    """Two convolutions beside a shortcut, which is the identity wherever the shape allows."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, outputs, stride)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = _conv(outputs, outputs)
        self.norm2 = nn.BatchNorm2d(outputs)
        if inputs == outputs and stride == 1:
            self.shortcut = nn.Identity()
        else:
            projection = nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, features_BCHW: Tensor) -> Tensor:
        residual_BCHW = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(features_BCHW)))))
        return F.relu(residual_BCHW + self.shortcut(features_BCHW))


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    first = _Block(inputs, outputs, stride=1 if inputs == outputs else 2)
    return nn.Sequential(first, *[_Block(outputs, outputs, stride=1) for _ in range(BLOCKS - 1)])


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)


__all__ = ["CIFARResNet18"]
