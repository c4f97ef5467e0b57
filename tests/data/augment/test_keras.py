"""The augmentations of the notebooks. Both matrices are for an image of 4 x 8 pixels: a rotation by 90 degrees maps
(row, column) to (-column, row), the shift is 1 row and -2 columns.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from src.data.augment import ImageDataGenerator, PreprocessingLayers
from src.data.augment.shift import shift
from tests.data.augment.cases import (
    LAST,
    A,
    B,
    C,
    D,
    assert_close,
    image,
    index,
    numbered,
    rotated,
    scaled,
    uniforms,
)


def test_matrix_of_image_data_generator():
    step = ImageDataGenerator(rotation_range=180, shift_range=0.5, zoom_range=0.5, flip_probability=0.5)
    # +90 degrees; 0.25 * 4 rows; -0.25 * 8 columns; rows * 0.5; columns * 1.25; flipped.
    matrix_33 = step.matrix(uniforms(0.75, 0.75, 0.25, 0.0, 0.75, 0.49), height=4, width=8)[0]
    # (r, c) -> (0.5 r, -1.25 c) -> (0.5 r + 1, -1.25 c - 2) -> (1.25 c + 2, 0.5 r + 1)
    assert_close(matrix_33, torch.tensor([[0, 1.25, 2], [0.5, 0, 1], [0, 0, 1]]))


def test_matrix_of_preprocessing_layers():
    step = PreprocessingLayers(rotation_range=180, shift_range=0.5, zoom_range=0.5, flip_probability=0.5)
    # Flipped; +90 degrees; both axes * 0.5; 0.25 * 4 rows; -0.25 * 8 columns.
    matrix_33 = step.matrix(uniforms(0.49, 0.75, 0.0, 0.75, 0.25), height=4, width=8)[0]
    # (r, c) -> (r + 1, c - 2) -> (0.5 r + 0.5, 0.5 c - 1) -> (-0.5 c + 1, 0.5 r + 0.5)
    #        -> (-0.5 c + 1, -0.5 r - 0.5)
    assert_close(matrix_33, torch.tensor([[0, -0.5, 1], [-0.5, 0, -0.5], [0, 0, 1]]))


def test_image_data_generator_rotates_then_shifts_then_flips():
    step = ImageDataGenerator(rotation_range=180, shift_range=0.5, zoom_range=0, flip_probability=1)
    # Read one row further down: the image moves up.
    expected = shift(numbered(4, 4).rot90(-1, (2, 3)), index(-1), index(0), "nearest").flip(-1)
    assert_close(step(numbered(4, 4), uniforms(0.75, 0.75, 0.5, 0.5, 0.5, 0.5), 0), expected)


def test_preprocessing_layers_flip_then_rotate_then_shift():
    step = PreprocessingLayers(rotation_range=180, shift_range=0.5, zoom_range=0, flip_probability=1)
    expected = shift(numbered(4, 4).flip(-1).rot90(-1, (2, 3)), index(-1), index(0), "reflect")
    assert_close(step(numbered(4, 4), uniforms(0.5, 0.75, 0.5, 0.75, 0.5), 0), expected)


def degrees_and_factors(matrix_33: Tensor) -> tuple[float, float, float]:
    """The angle, and the factors of rows and columns, of rotation * zoom."""
    angle = math.degrees(math.atan2(matrix_33[1, 0], matrix_33[0, 0]))
    return angle, float(matrix_33[:2, 0].norm()), float(matrix_33[:2, 1].norm())


@pytest.mark.parametrize(("uniform", "sign"), [(0.0, -1), (LAST, 1)])
def test_ranges_of_image_data_generator_are_those_of_the_notebooks(uniform: float, sign: int):
    matrix_33 = ImageDataGenerator().matrix(torch.full((1, 6), uniform), height=20, width=40)[0]
    assert degrees_and_factors(matrix_33) == pytest.approx((sign * 40, 1 + sign * 0.2, 1 + sign * 0.2), abs=1e-4)
    # Without the rotation, the shift is 20 % of each side.
    assert (rotated(-sign * 40)[0] @ matrix_33[:, 2])[:2].tolist() == pytest.approx([sign * 4, sign * 8], abs=1e-4)


@pytest.mark.parametrize(("uniform", "sign"), [(0.0, -1), (LAST, 1)])
def test_ranges_of_preprocessing_layers_are_those_of_the_notebook(uniform: float, sign: int):
    step = PreprocessingLayers(flip_probability=0)
    matrix_33 = step.matrix(torch.full((1, 5), uniform), height=20, width=40)[0]
    assert degrees_and_factors(matrix_33) == pytest.approx((sign * 18, 1 + sign * 0.1, 1 + sign * 0.1), abs=1e-4)
    # Without rotation and zoom, the shift is 10 % of each side.
    shift_2 = torch.linalg.solve(matrix_33[:2, :2], matrix_33[:2, 2])
    assert shift_2.tolist() == pytest.approx([sign * 2, sign * 4], abs=1e-4)


def test_image_data_generator_zooms_rows_and_columns_independently():
    matrix_33 = ImageDataGenerator().matrix(uniforms(0.5, 0.5, 0.5, 0.0, LAST, 0.9), height=4, width=4)[0]
    assert_close(matrix_33, torch.diag(torch.tensor([0.8, 1.2, 1.0])))


def test_preprocessing_layers_zoom_rows_and_columns_equally():
    matrix_33 = PreprocessingLayers().matrix(uniforms(0.9, 0.5, LAST, 0.5, 0.5), height=4, width=4)[0]
    assert_close(matrix_33, torch.diag(torch.tensor([1.1, 1.1, 1.0])))


@pytest.mark.parametrize(("uniform", "flipped"), [(0.49, True), (0.51, False)])
def test_half_of_the_images_are_flipped(uniform: float, flipped: bool):
    expected = scaled(1, -1 if flipped else 1)
    generator = ImageDataGenerator(rotation_range=0, shift_range=0, zoom_range=0)
    assert_close(generator.matrix(uniforms(0.5, 0.5, 0.5, 0.5, 0.5, uniform), 4, 4), expected)
    layers = PreprocessingLayers(rotation_range=0, shift_range=0, zoom_range=0)
    assert_close(layers.matrix(uniforms(uniform, 0.5, 0.5, 0.5, 0.5), 4, 4), expected)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (ImageDataGenerator(0, 0.5, 0, 0), [A, A, A, B]),
        (ImageDataGenerator(0, 0.5, 0, 0, fill="reflect"), [B, A, A, B]),
        (ImageDataGenerator(0, 0.5, 0, 0, fill="constant", value=0.7), [0.7, 0.7, A, B]),
        (PreprocessingLayers(0, 0.5, 0, 0), [B, A, A, B]),
        (PreprocessingLayers(0, 0.5, 0, 0, fill="nearest"), [A, A, A, B]),
        (PreprocessingLayers(0, 0.5, 0, 0, fill="constant", value=0.7), [0.7, 0.7, A, B]),
    ],
)
def test_default_fill_is_that_of_the_notebooks(step: ImageDataGenerator, expected: list[float]):
    # Only columns are shifted: their random number is 0, the others are 0.5.
    column = {"ImageDataGenerator": 2, "PreprocessingLayers": 4}[type(step).__name__]
    uniform_BK = torch.full((1, step.num_uniforms), 0.5)
    uniform_BK[0, column] = 0.0
    assert_close(step(image([[A, B, C, D]]), uniform_BK, 0), image([expected]))
