"""torchvision's ResNet-18 with a stem for small images."""

from __future__ import annotations

from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet


class CIFARResNet18(ResNet):
    """ResNet-18 with a 3x3 convolution as its stem, for images of about 32x32; 11,173,962 parameters for CIFAR-10.

    He et al. 2016, "Deep Residual Learning for Image Recognition", arXiv 1512.03385, table 1. The original 7x7
    convolution with stride 2 and the max pool would leave one pixel of 32x32 in the last stage; here it is 4x4 pixels.
    KellerJordan/cifar10-airbench reports 96 % on CIFAR-10 for its standard training of this network.

    Args:
        num_classes: number of logits.
        channels: channels of the images, which may have any size.
        zero_init_residual: initialize the last batch norm of each block with weight 0, so that each block starts as
            the identity (Goyal et al. 2017, "Accurate, Large Minibatch SGD", arXiv 1706.02677).
    """

    def __init__(self, num_classes: int = 10, channels: int = 3, zero_init_residual: bool = False) -> None:
        if num_classes < 1 or channels < 1:
            raise ValueError(f"num_classes {num_classes} and channels {channels} must be at least 1")
        super().__init__(BasicBlock, [2, 2, 2, 2], num_classes, zero_init_residual)
        self.conv1 = nn.Conv2d(channels, 64, kernel_size=3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision does
        self.maxpool = nn.Identity()
