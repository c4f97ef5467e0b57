"""Ten classes of synthetic shapes: the dataset that needs no file and no network.

A shape is a signed distance function: the distance of a point from the outline, negative inside. Only near the outline
do distances have to be exact, where they become the fraction of a pixel that the shape covers.

Shapes: N images, B of them rendered at once, H = W rows and columns, C = 3 channels; u are random numbers in [0, 1),
one row per image. Lengths are in units of half the image's side, and an angle of 1 is a full turn.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from src import rng
from src.data.batch import ImageSet
from src.data.datamodule import ImageDataModule, Subset


def _star(x: Tensor, y: Tensor) -> Tensor:
    # Folding the plane to a tenth of the circle maps all ten edges to one: from the tip at angle 0 and radius 1 to the
    # inner corner at 36 degrees and radius 0.42.
    angle = 0.2 * math.pi - (torch.atan2(x, y).remainder(0.4 * math.pi) - 0.2 * math.pi).abs()
    radius = torch.hypot(x, y)
    run, rise = 1 - 0.42 * math.cos(0.2 * math.pi), 0.42 * math.sin(0.2 * math.pi)
    return ((radius * angle.cos() - 1) * rise + radius * angle.sin() * run) / math.hypot(run, rise)


def _cross(x: Tensor, y: Tensor) -> Tensor:
    x, y = x.abs(), y.abs()
    return torch.maximum(torch.maximum(x, y) - 0.92, torch.minimum(x, y) - 0.27)


def _heart(x: Tensor, y: Tensor) -> Tensor:
    # A square on its corner with half a disc on each of the upper sides, narrowed and notched: without that, 10 % of
    # the 32-pixel images were confused with squares.
    x, y = 1.12 * x.abs(), 0.9 * y + 0.1
    body = torch.minimum((x + y.abs()) / math.sqrt(2), torch.hypot(x - 0.4, y - 0.4)) - 0.4 * math.sqrt(2)
    return torch.maximum(body, (y - 1.7 * x - 0.36) / math.hypot(1, 1.7))


# x to the right and y up, in units of the shape's radius. Rotation and reflection keep the class.
SHAPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "disc": lambda x, y: torch.hypot(x, y) - 0.8,
    "ring": lambda x, y: (torch.hypot(x, y) - 0.7).abs() - 0.2,
    "square": lambda x, y: torch.maximum(x.abs(), y.abs()) - 0.7,
    "triangle": lambda x, y: torch.maximum(math.sqrt(3) / 2 * x.abs() + y / 2, -y) - 0.5,
    "star": _star,
    "cross": _cross,
    "crescent": lambda x, y: torch.maximum(torch.hypot(x, y) - 0.9, 0.72 - torch.hypot(x - 0.5, y)),
    "heart": _heart,
    "pill": lambda x, y: torch.hypot((x.abs() - 0.62).clamp(min=0), y) - 0.33,
    "hourglass": lambda x, y: torch.maximum((x.abs() - y.abs()) / math.sqrt(2) - 0.08, y.abs() - 0.78),
}


def coverage(labels_B: Tensor, u_B5: Tensor, size: int) -> Tensor:
    """The fraction of each pixel that the shape covers, (B, H, W), at a random position, size and angle."""
    right_B11, up_B11, radius_B11, angle_B11, mirror_B11 = u_B5[:, :, None, None].unbind(1)
    radius_B11 = rng.between(radius_B11, 0.7, 0.9)
    x_BHW = (_along(torch.zeros_like(angle_B11), size) - rng.between(right_B11, -0.1, 0.1)) / radius_B11
    y_BHW = (_along(torch.full_like(angle_B11, 0.25), size) - rng.between(up_B11, -0.1, 0.1)) / radius_B11
    cos_B11, sin_B11 = (2 * math.pi * angle_B11).cos(), (2 * math.pi * angle_B11).sin()
    x_BHW, y_BHW = x_BHW * cos_B11 + y_BHW * sin_B11, y_BHW * cos_B11 - x_BHW * sin_B11
    x_BHW = torch.where(mirror_B11 < 0.5, x_BHW, -x_BHW)
    distance_BHW = torch.empty_like(x_BHW)
    for label, distance in enumerate(SHAPES.values()):
        is_label_B = labels_B == label
        distance_BHW[is_label_B] = distance(x_BHW[is_label_B], y_BHW[is_label_B])
    return (0.5 - distance_BHW * radius_B11 * size / 2).clamp(0, 1)


def render(labels_B: Tensor, u_B14: Tensor, noise_BHW: Tensor) -> Tensor:
    """Renders a shape on waves on a gradient from one hue to another, uint8 (B, H, W, C).

    Args:
        labels_B: classes.
        u_B14: random numbers that determine everything except the noise.
        noise_BHW: one random number in [0, 1) per pixel.
    """
    size = noise_BHW.shape[-1]
    values = u_B14[:, :, None, None].unbind(1)
    brightness, contrast, hue, *_, from_hue, to_hue, angle, wave_angle, frequency, phase = values
    ramp_BHW1 = (0.5 + 0.5 * _along(angle, size)).clamp(0, 1)[..., None]
    wave_BHW = (2 * math.pi * (rng.between(frequency, 1, 3) * _along(wave_angle, size) + phase)).sin()
    background_BHWC = torch.lerp(_color(brightness, from_hue), _color(brightness, to_hue), ramp_BHW1)
    background_BHWC = background_BHWC + 0.06 * wave_BHW[..., None]
    # Modulo 1, shape and background differ by at least 0.4 and have the same distribution. Half of the shapes are
    # darker than their background, so a linear model cannot add up the brightness of their pixels.
    shape_B11C = _color((brightness + rng.between(contrast, 0.4, 0.6)) % 1, hue)
    images_BHWC = torch.lerp(background_BHWC, shape_B11C, coverage(labels_B, u_B14[:, 3:8], size)[..., None])
    images_BHWC += 0.1 * (noise_BHW[..., None] - 0.5)
    return images_BHWC.clamp_(0, 1).mul_(255).round_().to(torch.uint8)


def _color(brightness_B11: Tensor, hue_B11: Tensor) -> Tensor:
    """RGB in [0, 1], (B, 1, 1, C); for any hue their mean is 0.2 to 0.8 for a brightness of 0 to 1."""
    hues_B11C = hue_B11[..., None] + torch.arange(3, device=hue_B11.device) / 3
    return rng.between(brightness_B11, 0.2, 0.8)[..., None] + 0.2 * (2 * math.pi * hues_B11C).cos()


def _along(angle_B11: Tensor, size: int) -> Tensor:
    """The coordinate of each pixel along one direction, from the center; angle 0 is to the right, 0.25 up."""
    steps_S = (torch.arange(size, device=angle_B11.device) + 0.5) * 2 / size - 1
    radians_B11 = 2 * math.pi * angle_B11
    return radians_B11.cos() * steps_S - radians_B11.sin() * steps_S[:, None]


class Shapes(ImageDataModule):
    """Synthetic shapes in ten classes with random color, position, size, angle and background, rendered in about 1 s.

    Test accuracy: softmax regression on the pixels 0.23, `SimpleCNN` 0.99 after 8 epochs.
    """

    classes = tuple(SHAPES)
    provenance = ("Synthetic: a program renders the shapes, so the results say nothing about photographs.",)
    mean = (0.5014, 0.4999, 0.5011)
    std = (0.2146, 0.2143, 0.2139)

    def __init__(
        self,
        train_size: int = 10000,
        test_size: int = 2000,
        image_size: int = 32,
        image_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        """
        Args:
            train_size: images in the training set, including validation. A larger set starts with the same images.
            test_size: images in the test set.
            image_size: height and width of the images in pixels, at least 8.
            image_seed: seed of the images, separate from `seed` so that runs with different seeds are comparable.
            **kwargs: see ImageDataModule.
        """
        super().__init__(**kwargs)
        # With fewer than 8 x 8 pixels the shapes look the same.
        minima = {"train_size": (train_size, 1), "test_size": (test_size, 1), "image_size": (image_size, 8)}
        for name, (value, minimum) in minima.items():
            if value < minimum:
                raise ValueError(f"{name} {value} must be at least {minimum}")
        self.train_size = train_size
        self.test_size = test_size
        self.image_size = image_size
        self.image_seed = image_seed

    def read(self, subset: Subset) -> ImageSet:
        """Renders a subset; image i depends on `image_seed`, the subset and i only."""
        size = self.image_size
        counters = (self.image_seed, rng.Stream.IMAGES, ("train", "test").index(subset))
        labels_N = torch.arange(self.train_size if subset == "train" else self.test_size) % len(SHAPES)
        u_N14 = rng.uniforms(len(labels_N), 14, *counters)
        # 2^19 pixels at once, about 50 MB of floats.
        chunk = max(1, 2**19 // size**2)
        images_NHWC = torch.empty(len(labels_N), size, size, 3, dtype=torch.uint8)
        for number, images_BHWC in enumerate(images_NHWC.split(chunk)):
            batch = slice(number * chunk, (number + 1) * chunk)
            noise_BHW = rng.uniforms(len(images_BHWC), size**2, *counters, number).view(-1, size, size)
            images_BHWC.copy_(render(labels_N[batch], u_N14[batch], noise_BHW))
        return ImageSet(images_NHWC, labels_N)
