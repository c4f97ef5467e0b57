"""The augmentations of the five Keras notebooks, each as one affine transformation.

Shapes: B images, C channels, H rows, W columns, K random numbers per image.
"""

import torch
from torch import Tensor

from src.data.augment.affine import affine, rotation, scaling, translation
from src.data.augment.augmentation import FILLS, Augmentation, Fill, one_of, within
from src.rng import between


class ImageDataGenerator(Augmentation):
    """Rotation, shift, zoom and horizontal flip in the order of Keras's `ImageDataGenerator`, resampled once. The
    defaults are those of the notebooks 001, 003 and 004.

    An output pixel o, relative to the center, is read at rotation * (zoom * flip * o + shift).
    """

    num_uniforms = 6

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
            rotation_range: maximum rotation in either direction, in degrees.
            shift_range: maximum translation along each axis, as a fraction of the side, in [0, 1].
            zoom_range: rows and columns are scaled independently by a factor in [1 - zoom_range, 1 + zoom_range].
            flip_probability: of a horizontal flip, in [0, 1].
            fill: pixels outside the image: `nearest`, `reflect` or `constant`.
            value: for `constant`, 0 (black) to 1 (white).
        """
        self.rotation_range = within("rotation_range", rotation_range, 0, 180)
        self.shift_range = within("shift_range", shift_range, 0, 1)
        self.zoom_range = within("zoom_range", zoom_range, 0, 0.99)
        self.flip_probability = within("flip_probability", flip_probability, 0, 1)
        self.fill: Fill = one_of("fill", fill, FILLS)
        self.value = within("value", value, 0, 1)

    def __call__(self, images_BCHW: Tensor, uniform_BK: Tensor, epoch: int) -> Tensor:
        return affine(images_BCHW, self.matrix(uniform_BK, *images_BCHW.shape[-2:]), self.fill, self.value)

    def matrix(self, uniform_BK: Tensor, height: int, width: int) -> Tensor:
        """The (B, 3, 3) matrices for `affine`."""
        rotate_B, down_B, right_B, zoom_rows_B, zoom_columns_B, flip_B = uniform_BK.unbind(1)
        zoom_B33 = scaling(self._factor(zoom_rows_B), self._factor(zoom_columns_B) * self._sign(flip_B))
        return self._rotation(rotate_B) @ self._shift(down_B, right_B, height, width) @ zoom_B33

    def _rotation(self, uniform_B: Tensor) -> Tensor:
        return rotation(between(uniform_B, -self.rotation_range, self.rotation_range).deg2rad())

    def _shift(self, down_B: Tensor, right_B: Tensor, height: int, width: int) -> Tensor:
        rows_B, columns_B = (between(u_B, -self.shift_range, self.shift_range) for u_B in (down_B, right_B))
        return translation(rows_B * height, columns_B * width)

    def _factor(self, uniform_B: Tensor) -> Tensor:
        return between(uniform_B, 1 - self.zoom_range, 1 + self.zoom_range)

    def _sign(self, uniform_B: Tensor) -> Tensor:
        return 1 - 2 * (uniform_B < self.flip_probability).float()


class PreprocessingLayers(ImageDataGenerator):
    """`RandomFlip`, `RandomRotation`, `RandomZoom` and `RandomTranslation` of Keras 3 in sequence, resampled once
    instead of four times (which blurs less). The defaults are those of notebook 000.

    An output pixel o, relative to the center, is read at flip * rotation * zoom * (o + shift).
    """

    num_uniforms = 5

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
            rotation_range: maximum rotation in either direction, in degrees (Keras's 0.05 is a fraction of 360).
            shift_range: maximum translation along each axis, as a fraction of the side, in [0, 1].
            zoom_range: both axes are scaled by one factor in [1 - zoom_range, 1 + zoom_range].
            flip_probability: of a horizontal flip, in [0, 1].
            fill: pixels outside the image: `nearest`, `reflect` or `constant`.
            value: for `constant`, 0 (black) to 1 (white).
        """
        super().__init__(rotation_range, shift_range, zoom_range, flip_probability, fill, value)

    def matrix(self, uniform_BK: Tensor, height: int, width: int) -> Tensor:
        """The (B, 3, 3) matrices for `affine`."""
        flip_B, rotate_B, zoom_B, down_B, right_B = uniform_BK.unbind(1)
        flip_B33 = scaling(torch.ones_like(flip_B), self._sign(flip_B))
        zoom_B33 = scaling(self._factor(zoom_B), self._factor(zoom_B))
        return flip_B33 @ self._rotation(rotate_B) @ zoom_B33 @ self._shift(down_B, right_B, height, width)
