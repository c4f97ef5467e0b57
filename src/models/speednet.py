"""A small network made for training CIFAR-10 quickly.

Shapes: B pictures, C channels, H rows, W columns, K classes; D = C * 2 * 2 numbers of a patch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

PATCH = 2  # height and width of the whitened patches in pixels
MIN_IMAGE_SIZE = 9  # whitening takes one pixel and three pools halve three times: (9 - 1) / 8 = 1 is left


class SpeedNet(nn.Module):
    """The network of airbench94: a whitening convolution, three blocks of two convolutions, a linear head.

    Source: Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv 2404.00498, and the
    program `airbench94_muon.py` of KellerJordan/cifar10-airbench. 1,972,792 parameters for CIFAR-10, of which
    1,971,352 are trained. There it reaches 94.01 % with the logits averaged over six views
    (`TestTimeAugmentation`), in 9.9 epochs by Nesterov SGD or in 8 by Muon; a single view gives about 0.8 points less.

    The first convolution's weights are not learned. Training calls `init_from_data` once, before its first
    step; until then they pass on the single pixels of each patch, with either sign, so that the network
    works without. Weights loaded from a checkpoint need no call.
    """

    def __init__(
        self,
        num_classes: int = 10,
        image_size: int = 32,
        channels: int = 3,
        widths: tuple[int, int, int] = (64, 256, 256),
        batchnorm_momentum: float = 0.6,
        whiten_bias: bool = True,
        logit_scale: float = 1 / 9,
    ) -> None:
        """
        Args:
            num_classes: number of logits.
            image_size: height and width of the pictures in pixels, at least 9.
            channels: of the pictures.
            widths: channels of the three blocks, each at least that of the block before it or of the
                whitening (8 * `channels`), for the identity at the start to reach through.
            batchnorm_momentum: share of the running statistics that a training step keeps, in [0, 1). PyTorch
                counts the other share. 0.6 is for batches of 2,000; 0.88 remembers as many pictures by
                batches of 500.
            whiten_bias: whether the first convolution's bias is trained; the paper does so for 3 epochs and
                keeps it from there. Without, a step need not propagate back through the first block's input.
            logit_scale: what the logits are multiplied by.

        Raises:
            ValueError: if a number is out of range.
        """
        super().__init__()
        _check(num_classes, image_size, channels, widths, batchnorm_momentum)
        whitened = 2 * channels * PATCH**2
        first, second, third = widths
        self.whiten = nn.Conv2d(channels, whitened, PATCH)
        self.gelu = nn.GELU()  # on a CPU, the approximation by tanh is no faster
        self.block1 = _Block(whitened, first, 1 - batchnorm_momentum)
        self.block2 = _Block(first, second, 1 - batchnorm_momentum)
        self.block3 = _Block(second, third, 1 - batchnorm_momentum)
        self.head = nn.Linear(third, num_classes, bias=False)
        self.logit_scale = logit_scale

        self._set_whitening(torch.eye(channels * PATCH**2))
        nn.init.zeros_(self.whiten.bias)  # pyright: ignore[reportArgumentType]
        self.whiten.weight.requires_grad_(False)
        self.whiten.bias.requires_grad_(whiten_bias)  # pyright: ignore[reportOptionalMemberAccess]

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits (B, K) of normalized pictures."""
        features_BCHW = self.gelu(self.whiten(images_BCHW))
        features_BCHW = self.block3(self.block2(self.block1(features_BCHW)))
        # For the 3 x 3 pixels that 32 x 32 pictures end in, this is the paper's maximum over windows of 3.
        features_BC = nn.functional.adaptive_max_pool2d(features_BCHW, 1).flatten(1)
        return self.head(features_BC) * self.logit_scale

    def init_from_data(self, images_BCHW: Tensor) -> None:
        """Makes the first convolution whiten the patches of these pictures.

        Args:
            images_BCHW: normalized training pictures; the paper takes 5,000.
        """
        self._set_whitening(whitening(images_BCHW))

    @torch.no_grad()
    def _set_whitening(self, directions_DD: Tensor) -> None:
        # Both signs, because the GELU that follows lets only one side of each direction through.
        both_signs = torch.cat([directions_DD, -directions_DD])
        self.whiten.weight.copy_(both_signs.view(self.whiten.weight.shape))


@torch.no_grad()
def whitening(images_BCHW: Tensor, eps: float = 5e-4) -> Tensor:
    """Directions (D, D), one a row, along which the pictures' patches have variance one and no correlation.

    The rows are the eigenvectors of the patches' second moments, from the smallest eigenvalue to the largest,
    each divided by the root of its eigenvalue.

    Args:
        images_BCHW: normalized pictures.
        eps: added to the eigenvalues, so that directions which hardly occur are not blown up. The paper's
            number.
    """
    # Out of autocast: in bf16 the small eigenvalues, down to 1/17,000 of the largest in CIFAR-10, were noise.
    with torch.autocast(images_BCHW.device.type, enabled=False):
        patches_BCHWhw = images_BCHW.float().unfold(2, PATCH, 1).unfold(3, PATCH, 1)
        patches_ND = patches_BCHWhw.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).flatten(1)
        moments_DD = (patches_ND.T @ patches_ND).double() / len(patches_ND)
        eigenvalues_D, eigenvectors_DD = torch.linalg.eigh(moments_DD)
        return (eigenvectors_DD / (eigenvalues_D + eps).sqrt()).T.float()


class _Block(nn.Module):
    """Two convolutions, the first of which halves the picture."""

    def __init__(self, inputs: int, outputs: int, momentum: float) -> None:
        super().__init__()
        self.conv1 = _Conv(inputs, outputs)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = _norm(outputs, momentum)
        self.conv2 = _Conv(outputs, outputs)
        self.norm2 = _norm(outputs, momentum)
        self.gelu = nn.GELU()

    def forward(self, features_BCHW: Tensor) -> Tensor:
        features_BCHW = self.gelu(self.norm1(self.pool(self.conv1(features_BCHW))))
        return self.gelu(self.norm2(self.conv2(features_BCHW)))


class _Conv(nn.Conv2d):
    """A 3 x 3 convolution that at the start copies its inputs into as many of its outputs.

    The rest of the outputs start at random, as PyTorch has it.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel_size=3, padding=1, bias=False)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        with torch.no_grad():
            nn.init.dirac_(self.weight[: self.in_channels])


def _norm(channels: int, momentum: float) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, eps=1e-12, momentum=momentum)
    norm.weight.requires_grad_(False)  # stays at one, as in the paper
    return norm


def _check(
    num_classes: int, image_size: int, channels: int, widths: tuple[int, int, int], batchnorm_momentum: float
) -> None:
    if num_classes < 1:
        raise ValueError(f"num_classes {num_classes} must be at least 1")
    if channels < 1:
        raise ValueError(f"channels {channels} must be at least 1")
    if image_size < MIN_IMAGE_SIZE:
        raise ValueError(
            f"image_size {image_size} is too small for this network, whose pooling needs at least "
            f"{MIN_IMAGE_SIZE}; enlarge the pictures or choose another network"
        )
    if not 0 <= batchnorm_momentum < 1:
        raise ValueError(f"batchnorm_momentum {batchnorm_momentum} is outside [0, 1); the paper has 0.6")
    least = 2 * channels * PATCH**2
    for width in widths:
        if width < least:
            raise ValueError(f"widths {tuple(widths)} must not fall, and begin with at least {least}")
        least = width


__all__ = ["SpeedNet"]
