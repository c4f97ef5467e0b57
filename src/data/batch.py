"""What the loaders, the data modules and the classifier exchange.

Shapes: N samples, B of them on this rank in a batch, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class ImageSet(NamedTuple):
    """A decoded set of images.

    Attributes:
        images_NHWC: uint8.
        labels_N: int64, from 0 to K - 1.
    """

    images_NHWC: Tensor
    labels_N: Tensor

    def to(self, device: torch.device) -> ImageSet:
        """The same set on another device."""
        return ImageSet(self.images_NHWC.to(device), self.labels_N.to(device))


class IndexBatch(NamedTuple):
    """What a loader yields: no images, only the indices of samples.

    Attributes:
        indices_B: the sample indices of this rank, int64. Empty where a last batch has fewer samples than ranks.
        size: the number of samples in the batches of all ranks together, the divisor of sums.
    """

    indices_B: Tensor
    size: int


class Batch(NamedTuple):
    """What a training, validation, test or predict step gets.

    Attributes:
        images_BCHW: float, normalized, in channels-last memory format.
        labels_B: int64.
        indices_B: int64, the sample indices within the dataset.
        size: the number of samples in the batches of all ranks together, the divisor of sums.
    """

    images_BCHW: Tensor
    labels_B: Tensor
    indices_B: Tensor
    size: int
