"""Affine transformations, against images worked out by hand."""

from __future__ import annotations

import pytest
import torch

from src.data.augment.affine import affine
from src.data.augment.augmentation import Fill
from tests.data.augment.cases import (
    FILLS,
    PATTERNS,
    A,
    B,
    C,
    D,
    assert_close,
    image,
    numbered,
    rotated,
    scaled,
    translated,
)


@pytest.mark.parametrize(("fill", "right", "expected"), PATTERNS)
def test_fill_of_a_row_is_that_of_keras(fill: Fill, right: int, expected: list[float]):
    # What moves to the right is read further left.
    assert_close(affine(image([[A, B, C, D]]), translated(0, -right), fill), image([expected]))


@pytest.mark.parametrize(("fill", "down", "expected"), PATTERNS)
def test_fill_of_a_column_is_that_of_keras(fill: Fill, down: int, expected: list[float]):
    actual = affine(image([[A], [B], [C], [D]]), translated(-down, 0), fill)
    assert_close(actual, image([[number] for number in expected]))


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_constant_fill_uses_the_value(value: float):
    actual = affine(image([[A, B, C, D]]), translated(0, -2), "constant", value)
    assert_close(actual, image([[value, value, A, B]]))


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 5), (1, 6)])
def test_identity(fill: Fill, height: int, width: int):
    images_BCHW = torch.stack([numbered(height, width)[0], 2 * numbered(height, width)[0]])
    assert_close(affine(images_BCHW, torch.eye(3).repeat(2, 1, 1), fill), images_BCHW)


def test_half_a_pixel_is_the_mean_of_its_neighbors():
    expected = image([[(A + B) / 2, (B + C) / 2, (C + D) / 2, D]])  # beyond the edge lies D again
    assert_close(affine(image([[A, B, C, D]]), translated(0, 0.5)), expected)


def test_translation_along_both_axes_of_a_rectangular_image():
    # Read one row further down and two columns further left.
    expected = image([[6, 6, 6, 7, 8], [11, 11, 11, 12, 13], [11, 11, 11, 12, 13]])
    assert_close(affine(numbered(3, 5), translated(1, -2)), expected)


def test_positive_angles_rotate_clockwise():
    assert_close(affine(image([[1.0, 2.0], [3.0, 4.0]]), rotated(90)), image([[3.0, 1.0], [4.0, 2.0]]))


@pytest.mark.parametrize(("degrees", "quarters"), [(90, -1), (-90, 1), (180, 2), (360, 0)])
def test_multiples_of_90_degrees_equal_rot90(degrees: float, quarters: int):
    assert_close(affine(numbered(4, 4), rotated(degrees)), numbered(4, 4).rot90(quarters, (2, 3)))


def test_twice_90_degrees_is_180_degrees():
    twice = affine(affine(numbered(5, 5), rotated(90)), rotated(90))
    assert_close(twice, affine(numbered(5, 5), rotated(180)))


def test_rotation_of_a_wide_image_keeps_the_aspect_ratio():
    # The 3 x 3 pixels in the middle turn among themselves.
    actual = affine(numbered(3, 5), rotated(90))[..., 1:4]
    assert_close(actual, numbered(3, 5)[..., 1:4].rot90(-1, (2, 3)))


def test_zoom_by_two_around_the_center():
    # Pixels lie at -1.5, -0.5, 0.5 and 1.5 from the center and are read at half of that: at 0.75, 1.25, 1.75
    # and 2.25 counted from the first. Here 0 0 4 0, down the rows, gives 0 1 3 3; 1 2 3 4, along columns,
    # gives the position plus 1. Each pixel is the product of the two.
    images_BCHW = torch.outer(torch.tensor([0.0, 0, 4, 0]), torch.tensor([1.0, 2, 3, 4]))[None, None]
    expected = image(
        [
            [0.0, 0.0, 0.0, 0.0],
            [1.75, 2.25, 2.75, 3.25],
            [5.25, 6.75, 8.25, 9.75],
            [5.25, 6.75, 8.25, 9.75],
        ]
    )
    assert_close(affine(images_BCHW, scaled(0.5, 0.5)), expected)


def test_rows_and_columns_are_scaled_independently():
    # Only the columns are read at half their distance: 1 2 3 4 at 0.75, 1.25, 1.75, 2.25.
    expected = image([[1.75, 2.25, 2.75, 3.25], [2.75, 3.25, 3.75, 4.25]])
    assert_close(affine(image([[1.0, 2, 3, 4], [2, 3, 4, 5]]), scaled(1, 0.5)), expected)


def test_scaling_columns_by_minus_one_flips_horizontally():
    assert_close(affine(image([[1.0, 2, 3], [4, 5, 6]]), scaled(1, -1)), image([[3.0, 2, 1], [6, 5, 4]]))


def test_one_matrix_per_image_for_all_channels():
    images_BCHW = torch.cat([numbered(3, 3), 10 * numbered(3, 3)], dim=1).repeat(2, 1, 1, 1)
    actual = affine(images_BCHW, torch.cat([rotated(0), rotated(180)]))
    assert_close(actual, torch.stack([images_BCHW[0], images_BCHW[1].flip((-2, -1))]))
