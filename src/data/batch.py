"""What datasets, loaders and the classifier exchange.

Shapes: N samples, B of them in a batch on this rank, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor


class ImageSet(NamedTuple):
    """Decoded images with their labels.

    Attributes:
        images_NHWC: uint8.
        labels_N: int64, from 0 to K - 1.
    """

    images_NHWC: Tensor
    labels_N: Tensor

    def to(self, device: torch.device) -> ImageSet:
        return ImageSet(self.images_NHWC.to(device), self.labels_N.to(device))

    def sha256(self) -> str:
        """Checksum of the images followed by the labels."""
        digest = hashlib.sha256()
        for tensor in self:
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()


class IndexBatch(NamedTuple):
    """A batch of the loader: sample indices instead of images.

    Attributes:
        indices_B: int64. Empty if the last batch has fewer samples than there are ranks.
        size: number of samples over all ranks, by which sums are divided.
    """

    indices_B: Tensor
    size: int


class Batch(NamedTuple):
    """A batch of a training, validation, test or predict step.

    Attributes:
        images_BCHW: float, normalized, in channels-last memory format.
        labels_B: int64.
        indices_B: int64, the sample indices within the dataset.
        size: number of samples over all ranks, by which sums are divided.
    """

    images_BCHW: Tensor
    labels_B: Tensor
    indices_B: Tensor
    size: int
