"""A small network for fast training on CIFAR-10.

Shapes: B images, C channels, H rows, W columns, K classes, N patches of D = C * 2 * 2 values.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

PATCH = 2  # height and width of the whitened patches in pixels
MIN_IMAGE_SIZE = 9  # the whitening convolution removes one pixel, and each of three pools halves: (9 - 1) / 8 = 1


class SpeedNet(nn.Module):
    """The network of airbench94: a whitening convolution, three blocks of two convolutions, a linear head.

    Source: Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv 2404.00498, and `airbench94_muon.py`
    of KellerJordan/cifar10-airbench. 1,972,792 parameters for CIFAR-10, 1,971,352 of them trained. The source reports
    94.01 % with test-time augmentation by six views (`TestTimeAugmentation`) after 9.9 epochs of Nesterov SGD or 8 of
    Muon, and about 0.8 points less with one view.

    The weights of the first convolution are not trained. Call `init_from_data` once before the first training step;
    without it they output the pixels of each patch with both signs.

    Args:
        num_classes: number of logits.
        image_size: height and width of the images in pixels, at least 9.
        channels: channels of the images.
        widths: output channels of the three blocks, in ascending order from 8 * `channels` (those of the whitening)
            on, since each convolution is initialized as the identity.
        batchnorm_momentum: fraction of the running statistics kept at each step, in [0, 1), which is 1 minus PyTorch's
            `momentum`. 0.6 is for batches of 2,000; 0.88 averages over as many images in batches of 500.
        whiten_bias: train the bias of the first convolution; the paper does so for the first 3 epochs. Without it, the
            backward pass skips the gradient of the first block's input.
        logit_scale: factor of the logits.

    Raises:
        ValueError: if a number is out of range.
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
        super().__init__()
        whitened = 2 * channels * PATCH**2
        if num_classes < 1 or channels < 1:
            raise ValueError(f"num_classes {num_classes} and channels {channels} must be at least 1")
        if image_size < MIN_IMAGE_SIZE:
            raise ValueError(f"image_size {image_size} is too small for this network; use at least {MIN_IMAGE_SIZE}")
        if not 0 <= batchnorm_momentum < 1:
            raise ValueError(f"batchnorm_momentum {batchnorm_momentum} is outside [0, 1); the paper uses 0.6")
        if not whitened <= widths[0] <= widths[1] <= widths[2]:
            raise ValueError(f"widths {tuple(widths)} must not decrease and must start with at least {whitened}")
        self.whiten = nn.Conv2d(channels, whitened, PATCH)
        self.gelu = nn.GELU()  # on a CPU, the tanh approximation is no faster
        self.block1 = _Block(whitened, widths[0], 1 - batchnorm_momentum)
        self.block2 = _Block(widths[0], widths[1], 1 - batchnorm_momentum)
        self.block3 = _Block(widths[1], widths[2], 1 - batchnorm_momentum)
        self.head = nn.Linear(widths[2], num_classes, bias=False)
        self.logit_scale = logit_scale

        self._set_whitening(torch.eye(channels * PATCH**2))
        nn.init.zeros_(self.whiten.bias)  # pyright: ignore[reportArgumentType]
        self.whiten.weight.requires_grad_(False)
        self.whiten.bias.requires_grad_(whiten_bias)  # pyright: ignore[reportOptionalMemberAccess]

    def forward(self, images_BCHW: Tensor) -> Tensor:
        features_BCHW = self.gelu(self.whiten(images_BCHW))
        features_BCHW = self.block3(self.block2(self.block1(features_BCHW)))
        # For 32x32 images, which leave 3x3 pixels here, this is the paper's max pool of kernel size 3. The gradient of
        # adaptive_max_pool2d fails on a GPU with trainer.deterministic.
        features_BC = nn.functional.max_pool2d(features_BCHW, features_BCHW.shape[2:]).flatten(1)
        return self.head(features_BC) * self.logit_scale

    def init_from_data(self, images_BCHW: Tensor) -> None:
        """Sets the first convolution to whiten the patches of normalized training images; the paper uses 5,000."""
        self._set_whitening(whitening(images_BCHW))

    @torch.no_grad()
    def _set_whitening(self, directions_DD: Tensor) -> None:
        # Both signs, since the GELU after it suppresses negative values.
        both_signs = torch.cat([directions_DD, -directions_DD])
        self.whiten.weight.copy_(both_signs.view(self.whiten.weight.shape))


@torch.no_grad()
def whitening(images_BCHW: Tensor, eps: float = 5e-4) -> Tensor:
    """Matrix (D, D) that whitens the 2x2 patches: their projections on its rows are uncorrelated with variance one.

    The rows are the eigenvectors of the second moments, by ascending eigenvalue, divided by the square root of the
    eigenvalue plus `eps`, which limits the scale of directions that hardly occur (the paper's value).
    """
    # Without autocast: in bf16 the small eigenvalues, down to 1/17,000 of the largest in CIFAR-10, are noise.
    with torch.autocast(images_BCHW.device.type, enabled=False):
        patches_BCHWhw = images_BCHW.float().unfold(2, PATCH, 1).unfold(3, PATCH, 1)
        patches_ND = patches_BCHWhw.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).flatten(1)
        # On the CPU, since MPS has neither float64 nor eigh.
        moments_DD = (patches_ND.T @ patches_ND).cpu().double() / len(patches_ND)
        eigenvalues_D, eigenvectors_DD = torch.linalg.eigh(moments_DD)
        return (eigenvectors_DD / (eigenvalues_D + eps).sqrt()).T.float().to(images_BCHW.device)


class _Block(nn.Module):
    """Two convolutions; the max pool after the first halves height and width."""

    def __init__(self, inputs: int, outputs: int, momentum: float) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, outputs)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = _norm(outputs, momentum)
        self.conv2 = _conv(outputs, outputs)
        self.norm2 = _norm(outputs, momentum)
        self.gelu = nn.GELU()

    def forward(self, features_BCHW: Tensor) -> Tensor:
        features_BCHW = self.gelu(self.norm1(self.pool(self.conv1(features_BCHW))))
        return self.gelu(self.norm2(self.conv2(features_BCHW)))


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)
    nn.init.dirac_(conv.weight[:inputs])  # the first outputs are copies of the inputs
    return conv


def _norm(channels: int, momentum: float) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, eps=1e-12, momentum=momentum)
    norm.weight.requires_grad_(False)  # stays at one, as in the paper
    return norm
