"""What datasets, loaders and the classifier exchange.

Shapes: N samples, B of them in a batch on this rank, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor


class ImageSet(NamedTuple):
    """Decoded images with their labels."""

    images_NHWC: Tensor  # uint8
    labels_N: Tensor  # int64, from 0 to K - 1; (N, K) of 0 and 1 where an image can have several classes

    def to(self, device: torch.device) -> ImageSet:
        return ImageSet(self.images_NHWC.to(device), self.labels_N.to(device))

    def sha256(self) -> str:
        """Checksum of the images followed by the labels."""
        digest = hashlib.sha256()
        for tensor in self:
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()


def class_counts(labels_N: Tensor, num_classes: int) -> Tensor:
    """The number of images of each class, int64 (K,)."""
    return labels_N.sum(0) if labels_N.dim() == 2 else labels_N.bincount(minlength=num_classes)


class IndexBatch(NamedTuple):
    """A batch of the loader: sample indices instead of images."""

    indices_B: Tensor  # int64; empty if the last batch has fewer samples than there are ranks
    size: int  # samples over all ranks, by which sums are divided
    partners_B: Tensor | None = None  # the sample with which each can be mixed: that at its place from the end
    repeats: tuple[Tensor, Tensor] | None = None  # how often each, and its partner, has occurred before in the epoch


class Batch(NamedTuple):
    """A batch of a training, validation, test or predict step."""

    images_BCHW: Tensor  # float, normalized, in channels-last memory format
    labels_B: Tensor  # int64; (B, K) of 0 and 1 where an image can have several classes
    indices_B: Tensor  # int64, within the dataset
    size: int  # samples over all ranks, by which sums are divided
    # Of images that are mixed with others in training: the other labels, and the weight of `labels_B` in [0, 1].
    partner_labels_B: Tensor | None = None
    weights_B: Tensor | None = None
    rows_B: Tensor | None = None  # whose random numbers each image uses, if not its own: it is a repeated one

    @property
    def heavier_labels_B(self) -> Tensor:
        """Of images that are mixed with others, the labels with the larger weight; else `labels_B`."""
        if self.partner_labels_B is None or self.weights_B is None:
            return self.labels_B
        own_B = (self.weights_B >= 0.5).unflatten(0, (-1, *(1,) * (self.labels_B.dim() - 1)))
        return self.labels_B.where(own_B, self.partner_labels_B)
