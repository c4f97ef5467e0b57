"""Crops of random size and shape.

Shapes: B images, C channels, H rows, W columns, S rows or columns of the result, K random numbers per image.
"""

import math

import torch
from torch import Tensor

from src.data.augment.augmentation import Augmentation, within
from src.data.augment.boxes import NUM_UNIFORMS, Boxes, ordered, random_boxes
from src.data.augment.flip import flip


def resized_crop(images_BCHW: Tensor, boxes: Boxes, size: int) -> Tensor:
    """Resizes a rectangle of each image to (S, S), bilinear and antialiased as torchvision's `resized_crop`."""
    rows_BSH = _weights(boxes.top_B, boxes.height_B, size, images_BCHW.shape[-2])
    columns_BSW = _weights(boxes.left_B, boxes.width_B, size, images_BCHW.shape[-1])
    return rows_BSH[:, None] @ images_BCHW @ columns_BSW[:, None].transpose(-1, -2)


def _weights(first_B: Tensor, length_B: Tensor, size: int, total: int) -> Tensor:
    """The weight of each pixel along an axis in each pixel of the result: a triangle as wide as the pixels of the
    result are in the image, at least one."""
    device = first_B.device
    scale_B11 = (length_B / size)[:, None, None]
    centers_BS1 = (torch.arange(size, device=device)[:, None] + 0.5) * scale_B11
    pixels_B1L = (torch.arange(total, device=device) - first_B[:, None])[:, None]
    inside_B1L = (pixels_B1L >= 0) & (pixels_B1L < length_B[:, None, None])
    weights_BSL = (1 - (pixels_B1L + 0.5 - centers_BS1).abs() / scale_B11.clamp(min=1)).clamp(min=0) * inside_B1L
    return weights_BSL / weights_BSL.sum(-1, keepdim=True)


class RandomResizedCrop(Augmentation):
    """Crops a random rectangle, resizes it to a square and flips it horizontally at random (Szegedy 2015, arXiv
    1409.4842). An ImageFolder keeps larger images for it; see its `stored_size`."""

    num_uniforms = NUM_UNIFORMS + 1

    def __init__(
        self,
        size: int,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip_probability: float = 0.5,
    ) -> None:
        """
        Args:
            size: height and width of the result in pixels: that of evaluation (`data.image_size`), or less, as in
                Touvron 2019 (arXiv 1906.06423), for a network that takes any size: objects appear larger in crops.
            scale: area of the crop as a fraction of the image, from and to. 0.08 is usual for training from scratch
                with many epochs; for fine-tuning and few epochs 0.35 and more.
            ratio: width divided by height of the crop, from and to.
            flip_probability: of a horizontal flip, in [0, 1].
        """
        self.size = int(within("size", size, 1, math.inf))
        self.scale = ordered("scale", scale, 0, 1)
        self.ratio = ordered("ratio", ratio, 0.01, 100)
        self.flip_probability = within("flip_probability", flip_probability, 0, 1)

    def __call__(self, images_BCHW: Tensor, uniform_BK: Tensor, epoch: int) -> Tensor:
        height, width = images_BCHW.shape[-2:]
        boxes = random_boxes(uniform_BK[:, :-1], height, width, self.scale, self.ratio)
        return flip(resized_crop(images_BCHW, boxes, self.size), uniform_BK[:, -1] < self.flip_probability)
