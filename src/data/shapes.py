"""Ten classes of drawn figures: the data set that needs no file and no network.

A figure is its signed distance function: how far a point lies from the outline, negative inside. Distances
need to be right near the outline alone, where they become the share of a pixel that the figure covers.

Shapes: N pictures, B of them drawn at once, H rows, W columns (as many), C = 3 channels; u are random numbers
in [0, 1), a row a picture. Lengths are in halves of a picture's side, and a turn of 1 is the full circle.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from src import rng
from src.data.batch import ImageSet
from src.data.datamodule import ImageDataModule, Subset

# The figures: x to the right and y up, in units of the figure's radius. Each is the same class however it is
# turned or mirrored.


def disc(x: Tensor, y: Tensor) -> Tensor:
    """Filled circle."""
    return torch.hypot(x, y) - 0.8


def ring(x: Tensor, y: Tensor) -> Tensor:
    """Circle with a round hole."""
    return (torch.hypot(x, y) - 0.7).abs() - 0.2


def square(x: Tensor, y: Tensor) -> Tensor:
    """Filled square."""
    return torch.maximum(x.abs(), y.abs()) - 0.7


def triangle(x: Tensor, y: Tensor) -> Tensor:
    """Triangle of equal sides."""
    return torch.maximum(math.sqrt(3) / 2 * x.abs() + y / 2, -y) - 0.5


def star(x: Tensor, y: Tensor) -> Tensor:
    """Star of five points."""
    # Folding the plane to a tenth of the circle lays all ten edges on one: from the tip at angle 0 and
    # radius 1 to the inner corner at 36 degrees and radius 0.42.
    angle = 0.2 * math.pi - (torch.atan2(x, y).remainder(0.4 * math.pi) - 0.2 * math.pi).abs()
    radius = torch.hypot(x, y)
    run, rise = 1 - 0.42 * math.cos(0.2 * math.pi), 0.42 * math.sin(0.2 * math.pi)
    return ((radius * angle.cos() - 1) * rise + radius * angle.sin() * run) / math.hypot(run, rise)


def cross(x: Tensor, y: Tensor) -> Tensor:
    """Two bars across each other."""
    x, y = x.abs(), y.abs()
    return torch.maximum(torch.maximum(x, y) - 0.92, torch.minimum(x, y) - 0.27)


def crescent(x: Tensor, y: Tensor) -> Tensor:
    """Circle with a round bite out of its right."""
    return torch.maximum(torch.hypot(x, y) - 0.9, 0.72 - torch.hypot(x - 0.5, y))


def heart(x: Tensor, y: Tensor) -> Tensor:
    """Square on its tip with a half circle on each of the upper sides, slimmed and notched."""
    # Without slimming and notch it is too like a square at 32 pixels: a tenth of them were confused.
    x, y = 1.12 * x.abs(), 0.9 * y + 0.1
    body = torch.minimum((x + y.abs()) / math.sqrt(2), torch.hypot(x - 0.4, y - 0.4)) - 0.4 * math.sqrt(2)
    return torch.maximum(body, (y - 1.7 * x - 0.36) / math.hypot(1, 1.7))


def pill(x: Tensor, y: Tensor) -> Tensor:
    """Bar with round ends."""
    return torch.hypot((x.abs() - 0.62).clamp(min=0), y) - 0.33


def hourglass(x: Tensor, y: Tensor) -> Tensor:
    """Two triangles, tip to tip."""
    return torch.maximum((x.abs() - y.abs()) / math.sqrt(2) - 0.08, y.abs() - 0.78)


SHAPES = (disc, ring, square, triangle, star, cross, crescent, heart, pill, hourglass)


# The drawing


def coverage(labels_B: Tensor, u_B5: Tensor, size: int) -> Tensor:
    """The share of each pixel that the figure covers, (B, H, W); at random place, size and angle."""
    right_B11, up_B11, radius_B11, turn_B11, mirror_B11 = u_B5[:, :, None, None].unbind(1)
    radius_B11 = rng.between(radius_B11, 0.7, 0.9)
    x_BHW = (_along(torch.zeros_like(turn_B11), size) - rng.between(right_B11, -0.1, 0.1)) / radius_B11
    y_BHW = (_along(torch.full_like(turn_B11, 0.25), size) - rng.between(up_B11, -0.1, 0.1)) / radius_B11
    cos_B11, sin_B11 = (2 * math.pi * turn_B11).cos(), (2 * math.pi * turn_B11).sin()
    x_BHW, y_BHW = x_BHW * cos_B11 + y_BHW * sin_B11, y_BHW * cos_B11 - x_BHW * sin_B11
    x_BHW = torch.where(mirror_B11 < 0.5, x_BHW, -x_BHW)
    distance_BHW = torch.empty_like(x_BHW)
    for label, figure in enumerate(SHAPES):
        chosen_B = labels_B == label
        distance_BHW[chosen_B] = figure(x_BHW[chosen_B], y_BHW[chosen_B])
    pixels_BHW = distance_BHW * radius_B11 * size / 2
    return (0.5 - pixels_BHW).clamp(0, 1)


def ground(light_B: Tensor, u_B6: Tensor, size: int) -> Tensor:
    """Waves over a ramp from one hue to another, (B, H, W, C)."""
    hue_B, other_hue_B, turn_B, wave_turn_B, frequency_B, phase_B = u_B6.unbind(1)
    ramp_BHW = (0.5 + 0.5 * _along(turn_B[:, None, None], size)).clamp(0, 1)
    cycles_BHW = rng.between(frequency_B, 1, 3)[:, None, None] * _along(wave_turn_B[:, None, None], size)
    wave_BHW = (2 * math.pi * (cycles_BHW + phase_B[:, None, None])).sin()
    ramp_BHWC = torch.lerp(color(light_B, hue_B), color(light_B, other_hue_B), ramp_BHW[..., None])
    return ramp_BHWC + 0.06 * wave_BHW[..., None]


def color(light_B: Tensor, hue_B: Tensor) -> Tensor:
    """RGB in [0, 1], (B, 1, 1, 3), their mean 0.2 to 0.8 for a light of 0 to 1, whatever the hue."""
    thirds_3 = torch.arange(3, device=hue_B.device) / 3
    rgb_B3 = rng.between(light_B, 0.2, 0.8)[:, None] + 0.2 * (2 * math.pi * (hue_B[:, None] + thirds_3)).cos()
    return rgb_B3[:, None, None]


def draw(labels_B: Tensor, u_B14: Tensor, grain_BHW: Tensor) -> Tensor:
    """ImageSet, uint8 (B, H, W, C).

    Args:
        labels_B: which figure.
        u_B14: random numbers that decide everything but the grain.
        grain_BHW: random numbers in [0, 1), one a pixel.
    """
    size = grain_BHW.shape[-1]
    light_B, contrast_B, hue_B = u_B14[:, :3].unbind(1)
    # Going round from 1 to 0 keeps figure and ground at least 0.4 apart and gives both the same distribution,
    # so that half of the figures are the darker and a linear model has nothing to add up.
    figure_B11C = color((light_B + rng.between(contrast_B, 0.4, 0.6)) % 1, hue_B)
    covered_BHW1 = coverage(labels_B, u_B14[:, 3:8], size)[..., None]
    images_BHWC = torch.lerp(ground(light_B, u_B14[:, 8:], size), figure_B11C, covered_BHW1)
    images_BHWC += 0.1 * (grain_BHW[..., None] - 0.5)
    return images_BHWC.clamp_(0, 1).mul_(255).round_().to(torch.uint8)


def _along(turn_B11: Tensor, size: int) -> Tensor:
    """How far each pixel lies from the center in one direction; 0 is to the right, 0.25 up."""
    steps_S = (torch.arange(size, device=turn_B11.device) + 0.5) * 2 / size - 1
    angle_B11 = 2 * math.pi * turn_B11
    return angle_B11.cos() * steps_S - angle_B11.sin() * steps_S[:, None]


class Shapes(ImageDataModule):
    """Ten classes of figures, random in color, place, size, angle and ground, drawn in about a second.

    Measured: softmax regression on the pixels 0.23 test accuracy, `SimpleCNN` 0.99 after 8 epochs.
    """

    classes = tuple(figure.__name__ for figure in SHAPES)
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
            train_size: pictures in the training set, validation included; the first ones are the same for
                every size.
            test_size: pictures in the test set.
            image_size: height and width of the pictures in pixels, at least 8.
            image_seed: of what is drawn; apart from the run's seed, so that runs with other seeds compare.

        Raises:
            ValueError: if a size is too small.
        """
        super().__init__(**kwargs)
        _check_least("train_size", train_size, 1, "leave it out for 10000")
        _check_least("test_size", test_size, 1, "leave it out for 2000")
        _check_least("image_size", image_size, 8, "in fewer pixels the figures look the same")
        self.train_size = train_size
        self.test_size = test_size
        self.image_size = image_size
        self.image_seed = image_seed

    def read(self, part: Subset) -> ImageSet:
        """Draws one part of the data set; picture i depends on `image_seed`, the part and i alone."""
        size = self.image_size
        place = (self.image_seed, rng.Stream.IMAGES, ("train", "test").index(part))
        labels_N = torch.arange(self.train_size if part == "train" else self.test_size) % len(SHAPES)
        u_N14 = rng.uniforms(len(labels_N), 14, *place)
        # Half a million pixels at once, about 50 MB of floats.
        chunk = max(1, 2**19 // size**2)
        images_NHWC = torch.empty(len(labels_N), size, size, 3, dtype=torch.uint8)
        for number, images_BHWC in enumerate(images_NHWC.split(chunk)):
            here = slice(number * chunk, (number + 1) * chunk)
            grain_BHW = rng.uniforms(len(images_BHWC), size**2, *place, number).view(-1, size, size)
            images_BHWC.copy_(draw(labels_N[here], u_N14[here], grain_BHW))
        return ImageSet(images_NHWC, labels_N)


def _check_least(name: str, value: int, least: int, advice: str) -> None:
    if value < least:
        raise ValueError(f"{name} {value} must be at least {least}; {advice}")
