"""Augmentation of whole batches: pure tensor functions first, the classes that a recipe names after.

Every function works on the device of what it is given and draws nothing itself: random numbers are an
argument, uniform in [0, 1), one row a picture. So a picture's augmentation depends on its row alone.

Shapes: B pictures, C channels, H rows, W columns, K random numbers a picture. Pictures are floats in
[0, 1] before normalisation.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Fill = Literal["nearest", "reflect", "constant"]
_GRID_PADDING = {"nearest": "border", "reflect": "reflection", "constant": "zeros"}


# Pure functions


def flip(images_BCHW: Tensor, flipped_B: Tensor) -> Tensor:
    """Mirrors left and right where `flipped_B` is true."""
    return torch.where(flipped_B[:, None, None, None], images_BCHW.flip(-1), images_BCHW)


def shift(images_BCHW: Tensor, down_B: Tensor, right_B: Tensor, fill: Fill = "reflect") -> Tensor:
    """Moves each picture by whole pixels.

    Args:
        images_BCHW: pictures.
        down_B: rows to move down, int64; negative moves up.
        right_B: columns to move to the right, int64.
        fill: what comes in at the edge: `nearest` repeats the edge pixel (a a|a b c), `reflect` mirrors at
            the border of the picture (b a|a b c), `constant` is black.
    """
    _one_of("fill", fill, _GRID_PADDING)
    height, width = images_BCHW.shape[-2:]
    rows_BH, rows_valid_BH = _source(height, down_B, fill)
    columns_BW, columns_valid_BW = _source(width, right_B, fill)
    batch_B11 = torch.arange(len(images_BCHW), device=images_BCHW.device)[:, None, None]
    # Channels last while gathering: each pixel is then one contiguous piece of memory.
    moved_BHWC = images_BCHW.permute(0, 2, 3, 1)[batch_B11, rows_BH[:, :, None], columns_BW[:, None, :]]
    if fill == "constant":
        moved_BHWC = moved_BHWC * (rows_valid_BH[:, :, None] & columns_valid_BW[:, None, :]).unsqueeze(-1)
    return moved_BHWC.permute(0, 3, 1, 2)


def _source(length: int, by_B: Tensor, fill: Fill) -> tuple[Tensor, Tensor]:
    """Where each pixel along one axis comes from, and whether that lies inside the picture."""
    wanted_BL = torch.arange(length, device=by_B.device) - by_B[:, None]
    valid_BL = (wanted_BL >= 0) & (wanted_BL < length)
    if fill == "reflect":
        around_BL = wanted_BL.remainder(2 * length)
        return torch.minimum(around_BL, 2 * length - 1 - around_BL), valid_BL
    return wanted_BL.clamp(0, length - 1), valid_BL


def cutout(images_BCHW: Tensor, row_B: Tensor, column_B: Tensor, size: int, value: float = 0.0) -> Tensor:
    """Paints a square of `size` pixels over each picture, its upper left corner at (`row_B`, `column_B`);
    what lies outside the picture is cut off (DeVries and Taylor 2017, arXiv 1708.04552)."""
    height, width = images_BCHW.shape[-2:]
    device = images_BCHW.device
    from_top_BH = torch.arange(height, device=device) - row_B[:, None]
    from_left_BW = torch.arange(width, device=device) - column_B[:, None]
    rows_BH = (from_top_BH >= 0) & (from_top_BH < size)
    columns_BW = (from_left_BW >= 0) & (from_left_BW < size)
    hole_B1HW = (rows_BH[:, :, None] & columns_BW[:, None, :]).unsqueeze(1)
    return images_BCHW.masked_fill(hole_B1HW, value)


def affine(images_BCHW: Tensor, matrix_B33: Tensor, fill: Fill = "nearest", value: float = 0.0) -> Tensor:
    """Resamples each picture once, bilinearly.

    Args:
        images_BCHW: pictures.
        matrix_B33: takes the (row, column, 1) of a pixel of the result, in pixels from the picture's centre,
            to where it is read in the original.
        fill: what is read outside: `nearest` the closest edge pixel, `reflect` the picture mirrored at its
            border (edge pixel repeated), `constant` the `value`. These are the modes of those names in Keras.
        value: for `constant`.
    """
    if len(images_BCHW) == 0:  # grid_sample refuses it, but a process's share of a last batch can be empty
        return images_BCHW
    height, width = images_BCHW.shape[-2:]
    rows_H1 = torch.arange(height, device=images_BCHW.device)[:, None] - (height - 1) / 2
    columns_W = torch.arange(width, device=images_BCHW.device) - (width - 1) / 2
    # grid_sample counts (x, y) from -1 to 1 between the picture's borders; the matrix counts (row, column) in pixels.
    half_21 = matrix_B33.new_tensor([[width / 2], [height / 2]])
    by_row_B211, by_column_B211, offset_B211 = (matrix_B33[:, :2].flip(1) / half_21)[..., None, None].unbind(2)
    # With F.affine_grid, which multiplies matrices three wide, the whole function took four times as long.
    grid_B2HW = by_row_B211 * rows_H1 + (by_column_B211 * columns_W + offset_B211)
    grid_BHW2 = grid_B2HW.permute(0, 2, 3, 1)
    padding = _GRID_PADDING[fill]
    if fill != "constant" or value == 0:
        return F.grid_sample(images_BCHW, grid_BHW2, padding_mode=padding, align_corners=False)
    return F.grid_sample(images_BCHW - value, grid_BHW2, padding_mode=padding, align_corners=False) + value


def rotation(radians_B: Tensor) -> Tensor:
    """(B, 3, 3) matrices that turn (row, column)."""
    cos_B, sin_B = radians_B.cos(), radians_B.sin()
    zero_B, one_B = torch.zeros_like(cos_B), torch.ones_like(cos_B)
    rows = [cos_B, -sin_B, zero_B, sin_B, cos_B, zero_B, zero_B, zero_B, one_B]
    return torch.stack(rows, dim=-1).view(-1, 3, 3)


def translation(rows_B: Tensor, columns_B: Tensor) -> Tensor:
    """(B, 3, 3) matrices that move by (rows, columns) pixels."""
    matrix_B33 = torch.eye(3, device=rows_B.device).repeat(len(rows_B), 1, 1)
    matrix_B33[:, 0, 2], matrix_B33[:, 1, 2] = rows_B, columns_B
    return matrix_B33


def scaling(rows_B: Tensor, columns_B: Tensor) -> Tensor:
    """(B, 3, 3) matrices that stretch (rows, columns); -1 for the columns mirrors left and right."""
    return torch.diag_embed(torch.stack([rows_B, columns_B, torch.ones_like(rows_B)], dim=-1))


def between(uniform_B: Tensor, low: float, high: float) -> Tensor:
    """Stretches numbers in [0, 1) to [low, high)."""
    return low + uniform_B * (high - low)


# What a recipe names


class Augmentation(ABC):
    """One step of augmentation, for whole batches.

    Attributes:
        draws: uniform random numbers that a picture takes.
        every_epoch: whether they are drawn anew in each epoch; if not, a picture keeps its own for the run.
    """

    draws: int
    every_epoch: bool = True

    @abstractmethod
    def __call__(self, images_BCHW: Tensor, uniform_BK: Tensor, epoch: int) -> Tensor:
        """Augments float pictures in [0, 1] by the numbers in `uniform_BK`, `draws` a picture."""


class Flip(Augmentation):
    """Mirrors a picture left and right by chance."""

    draws = 1

    def __init__(self, probability: float = 0.5) -> None:
        """
        Args:
            probability: of being mirrored, 0 to 1.
        """
        self.probability = _within("probability", probability, 0, 1)

    def __call__(self, images_BCHW: Tensor, uniform_BK: Tensor, epoch: int) -> Tensor:
        return flip(images_BCHW, uniform_BK[:, 0] < self.probability)


class AlternatingFlip(Augmentation):
    """Mirrors a picture in every second epoch: by chance in the first, from then on in turn, so that two
    epochs in a row show both sides (Jordan 2024, arXiv 2404.00498, section 3.6)."""

    draws = 1
    every_epoch = False

    def __call__(self, images_BCHW: Tensor, uniform_BK: Tensor, epoch: int) -> Tensor:
        return flip(images_BCHW, (uniform_BK[:, 0] < 0.5) ^ (epoch % 2 == 1))


class Shift(Augmentation):
    """Moves a picture by whole pixels in both directions, as cropping after padding does."""

    draws = 2

    def __init__(self, pixels: int = 4, fill: Fill = "reflect") -> None:
        """
        Args:
            pixels: the farthest move, in pixels.
            fill: what comes in at the edge: `nearest`, `reflect` or `constant` (black).
        """
        self.pixels = int(_within("pixels", pixels, 0, math.inf))
        self.fill: Fill = _one_of("fill", fill, _GRID_PADDING)

    def __call__(self, images_BCHW: Tensor, uniform_BK: Tensor, epoch: int) -> Tensor:
        by_B2 = (uniform_BK * (2 * self.pixels + 1)).long() - self.pixels
        return shift(images_BCHW, by_B2[:, 0], by_B2[:, 1], self.fill)


class Cutout(Augmentation):
    """Paints a square over a picture (DeVries and Taylor 2017, arXiv 1708.04552)."""

    draws = 2

    def __init__(self, size: int = 8, value: float = 0.5) -> None:
        """
        Args:
            size: side of the square in pixels; its centre lies on any pixel of the picture.
            value: its grey, 0 (black) to 1 (white).
        """
        self.size = int(_within("size", size, 1, math.inf))
        self.value = _within("value", value, 0, 1)

    def __call__(self, images_BCHW: Tensor, uniform_BK: Tensor, epoch: int) -> Tensor:
        height, width = images_BCHW.shape[-2:]
        row_B = (uniform_BK[:, 0] * height).long() - self.size // 2
        column_B = (uniform_BK[:, 1] * width).long() - self.size // 2
        return cutout(images_BCHW, row_B, column_B, self.size, self.value)


class ImageDataGenerator(Augmentation):
    """Rotation, shift, zoom and mirroring as Keras's `ImageDataGenerator` composes them, in one resample.
    The defaults are those of the notebooks 001, 003 and 004.

    A pixel o of the result, counted from the centre, is read at rotation * (zoom * mirror * o + shift).
    """

    draws = 6

    def __init__(
        self,
        rotation_range: float = 40.0,
        shift_range: float = 0.2,
        zoom_range: float = 0.2,
        flip_probability: float = 0.5,
        fill: Fill = "nearest",
        value: float = 0.0,
    ) -> None:
        """
        Args:
            rotation_range: the largest turn either way, in degrees.
            shift_range: the largest move along each axis, as a share of the side, 0 to 1.
            zoom_range: rows and columns are stretched apart, each by a factor in [1 - this, 1 + this].
            flip_probability: of being mirrored, 0 to 1.
            fill: what is read outside the picture: `nearest`, `reflect` or `constant`.
            value: for `constant`, 0 (black) to 1 (white).
        """
        self.rotation_range = _within("rotation_range", rotation_range, 0, 180)
        self.shift_range = _within("shift_range", shift_range, 0, 1)
        self.zoom_range = _within("zoom_range", zoom_range, 0, 0.99)
        self.flip_probability = _within("flip_probability", flip_probability, 0, 1)
        self.fill: Fill = _one_of("fill", fill, _GRID_PADDING)
        self.value = _within("value", value, 0, 1)

    def __call__(self, images_BCHW: Tensor, uniform_BK: Tensor, epoch: int) -> Tensor:
        return affine(images_BCHW, self.matrix(uniform_BK, *images_BCHW.shape[-2:]), self.fill, self.value)

    def matrix(self, uniform_BK: Tensor, height: int, width: int) -> Tensor:
        """The (B, 3, 3) matrices that `affine` takes."""
        turn_B, down_B, right_B, tall_B, wide_B, mirror_B = uniform_BK.unbind(1)
        degrees_B = between(turn_B, -self.rotation_range, self.rotation_range)
        move_B33 = translation(
            between(down_B, -self.shift_range, self.shift_range) * height,
            between(right_B, -self.shift_range, self.shift_range) * width,
        )
        columns_B = between(wide_B, 1 - self.zoom_range, 1 + self.zoom_range)
        stretch_B33 = scaling(
            between(tall_B, 1 - self.zoom_range, 1 + self.zoom_range),
            torch.where(mirror_B < self.flip_probability, -columns_B, columns_B),
        )
        return rotation(degrees_B.deg2rad()) @ move_B33 @ stretch_B33


class PreprocessingLayers(ImageDataGenerator):
    """`RandomFlip`, `RandomRotation`, `RandomZoom` and `RandomTranslation` of Keras 3 one after the other,
    in one resample instead of four (which blurs less). The defaults are those of notebook 000.

    A pixel o of the result, counted from the centre, is read at mirror * rotation * zoom * (o + shift).
    """

    draws = 5

    def __init__(
        self,
        rotation_range: float = 18.0,
        shift_range: float = 0.1,
        zoom_range: float = 0.1,
        flip_probability: float = 0.5,
        fill: Fill = "reflect",
        value: float = 0.0,
    ) -> None:
        """
        Args:
            rotation_range: the largest turn either way, in degrees (Keras's 0.05 is a share of a full turn).
            shift_range: the largest move along each axis, as a share of the side, 0 to 1.
            zoom_range: both axes are stretched by one factor in [1 - this, 1 + this].
            flip_probability: of being mirrored, 0 to 1.
            fill: what is read outside the picture: `nearest`, `reflect` or `constant`.
            value: for `constant`, 0 (black) to 1 (white).
        """
        super().__init__(rotation_range, shift_range, zoom_range, flip_probability, fill, value)

    def matrix(self, uniform_BK: Tensor, height: int, width: int) -> Tensor:
        """The (B, 3, 3) matrices that `affine` takes."""
        mirror_B, turn_B, stretch_B, down_B, right_B = uniform_BK.unbind(1)
        ones_B = torch.ones_like(mirror_B)
        flip_B33 = scaling(ones_B, torch.where(mirror_B < self.flip_probability, -ones_B, ones_B))
        degrees_B = between(turn_B, -self.rotation_range, self.rotation_range)
        factor_B = between(stretch_B, 1 - self.zoom_range, 1 + self.zoom_range)
        move_B33 = translation(
            between(down_B, -self.shift_range, self.shift_range) * height,
            between(right_B, -self.shift_range, self.shift_range) * width,
        )
        return flip_B33 @ rotation(degrees_B.deg2rad()) @ scaling(factor_B, factor_B) @ move_B33


def _one_of(name: str, value: Any, known: Iterable[str]) -> Any:
    if value not in known:
        raise ValueError(f"{name} {value!r} is unknown; use one of {', '.join(known)}")
    return value


def _within(name: str, value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        raise ValueError(f"{name} {value} is outside [{low}, {high}]")
    return value
