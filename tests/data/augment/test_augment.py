"""Augmentation, against pictures and matrices worked out by hand.

Shapes: B pictures, C channels, H rows, W columns, K random numbers a picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from src.data import augment
from src.data.augment import (
    AlternatingFlip,
    Augmentation,
    Cutout,
    Flip,
    ImageDataGenerator,
    PreprocessingLayers,
    Shift,
)
from src.data.augment.affine import affine, rotation, scaling, translation
from src.data.augment.augmentation import Fill
from src.data.augment.cutout import cutout
from src.data.augment.flip import flip
from src.data.augment.shift import shift
from src.rng import between

LAST = 1 - 2**-24  # the largest number that torch.rand gives
A, B, C, D = 0.1, 0.2, 0.4, 0.8
FILLS: list[Fill] = ["nearest", "reflect", "constant"]
EVERY: list[Augmentation] = [
    Flip(),
    AlternatingFlip(),
    Shift(2),
    Cutout(3),
    ImageDataGenerator(),
    PreprocessingLayers(),
]


def picture(rows: Sequence[Sequence[float]]) -> Tensor:
    """One picture with one channel, (1, 1, H, W)."""
    return torch.tensor(rows, dtype=torch.float32)[None, None]


def numbered(height: int, width: int) -> Tensor:
    """One picture with another number at each pixel, (1, 1, H, W)."""
    return torch.arange(1.0, height * width + 1).view(1, 1, height, width)


def whole(number: int) -> Tensor:
    return torch.tensor([number])


def at(*numbers: float) -> Tensor:
    return torch.tensor([numbers])


def turned(degrees: float) -> Tensor:
    return rotation(torch.tensor([math.radians(degrees)]))


def moved(rows: float, columns: float) -> Tensor:
    return translation(torch.tensor([float(rows)]), torch.tensor([float(columns)]))


def stretched(rows: float, columns: float) -> Tensor:
    return scaling(torch.tensor([float(rows)]), torch.tensor([float(columns)]))


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


# What comes in at the edge. Keras documents reflect as (d c b a | a b c d | d c b a), nearest as
# (a a a a | a b c d | d d d d) and constant as (k k k k | a b c d | k k k k).

PATTERNS = [
    ("nearest", 4, [A, A, A, A]),
    ("nearest", 2, [A, A, A, B]),
    ("nearest", 0, [A, B, C, D]),
    ("nearest", -1, [B, C, D, D]),
    ("nearest", -4, [D, D, D, D]),
    ("reflect", 4, [D, C, B, A]),
    ("reflect", 2, [B, A, A, B]),
    ("reflect", 0, [A, B, C, D]),
    ("reflect", -1, [B, C, D, D]),
    ("reflect", -4, [D, C, B, A]),
    ("reflect", 8, [A, B, C, D]),
    ("reflect", -9, [B, C, D, D]),
    ("constant", 4, [0, 0, 0, 0]),
    ("constant", 2, [0, 0, A, B]),
    ("constant", 0, [A, B, C, D]),
    ("constant", -1, [B, C, D, 0]),
    ("constant", -4, [0, 0, 0, 0]),
]


@pytest.mark.parametrize(("fill", "right", "expected"), PATTERNS)
def test_shift_fills_a_row_as_keras_does(fill: Fill, right: int, expected: list[float]):
    actual = shift(picture([[A, B, C, D]]), whole(0), whole(right), fill)
    assert torch.equal(actual, picture([expected]))


@pytest.mark.parametrize(("fill", "down", "expected"), PATTERNS)
def test_shift_fills_a_column_as_keras_does(fill: Fill, down: int, expected: list[float]):
    actual = shift(picture([[A], [B], [C], [D]]), whole(down), whole(0), fill)
    assert torch.equal(actual, picture([[number] for number in expected]))


@pytest.mark.parametrize(("fill", "right", "expected"), PATTERNS)
def test_affine_fills_a_row_as_keras_does(fill: Fill, right: int, expected: list[float]):
    # What moves to the right is read further left.
    assert_close(affine(picture([[A, B, C, D]]), moved(0, -right), fill), picture([expected]))


@pytest.mark.parametrize(("fill", "down", "expected"), PATTERNS)
def test_affine_fills_a_column_as_keras_does(fill: Fill, down: int, expected: list[float]):
    actual = affine(picture([[A], [B], [C], [D]]), moved(-down, 0), fill)
    assert_close(actual, picture([[number] for number in expected]))


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_affine_fills_with_the_constant_asked_for(value: float):
    actual = affine(picture([[A, B, C, D]]), moved(0, -2), "constant", value)
    assert_close(actual, picture([[value, value, A, B]]))


# affine


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 5), (1, 6)])
def test_the_identity_gives_the_picture_back(fill: Fill, height: int, width: int):
    images_BCHW = torch.stack([numbered(height, width)[0], 2 * numbered(height, width)[0]])
    assert_close(affine(images_BCHW, torch.eye(3).repeat(2, 1, 1), fill), images_BCHW)


def test_half_a_pixel_gives_the_mean_of_neighbours():
    expected = picture([[(A + B) / 2, (B + C) / 2, (C + D) / 2, D]])  # beyond the edge lies D again
    assert_close(affine(picture([[A, B, C, D]]), moved(0, 0.5)), expected)


def test_a_move_along_both_axes_of_a_picture_that_is_not_square():
    # Read one row further down and two columns further left.
    expected = picture([[6, 6, 6, 7, 8], [11, 11, 11, 12, 13], [11, 11, 11, 12, 13]])
    assert_close(affine(numbered(3, 5), moved(1, -2)), expected)


def test_a_quarter_turn_goes_clockwise():
    assert_close(affine(picture([[1.0, 2.0], [3.0, 4.0]]), turned(90)), picture([[3.0, 1.0], [4.0, 2.0]]))


@pytest.mark.parametrize(("degrees", "quarters"), [(90, -1), (-90, 1), (180, 2), (360, 0)])
def test_quarter_turns_are_those_of_rot90(degrees: float, quarters: int):
    assert_close(affine(numbered(4, 4), turned(degrees)), numbered(4, 4).rot90(quarters, (2, 3)))


def test_two_quarter_turns_are_half_a_turn():
    twice = affine(affine(numbered(5, 5), turned(90)), turned(90))
    assert_close(twice, affine(numbered(5, 5), turned(180)))


def test_a_quarter_turn_of_a_wide_picture_keeps_its_pixels_square():
    # The 3 x 3 pixels in the middle turn among themselves.
    actual = affine(numbered(3, 5), turned(90))[..., 1:4]
    assert_close(actual, numbered(3, 5)[..., 1:4].rot90(-1, (2, 3)))


def test_zooming_in_twice_about_the_centre():
    # Pixels lie at -1.5, -0.5, 0.5 and 1.5 from the center and are read at half of that: at 0.75, 1.25, 1.75
    # and 2.25 counted from the first. Here 0 0 4 0, down the rows, gives 0 1 3 3; 1 2 3 4, along columns,
    # gives the place plus 1. Each pixel is the product of the two.
    images_BCHW = torch.outer(torch.tensor([0.0, 0, 4, 0]), torch.tensor([1.0, 2, 3, 4]))[None, None]
    expected = picture(
        [
            [0.0, 0.0, 0.0, 0.0],
            [1.75, 2.25, 2.75, 3.25],
            [5.25, 6.75, 8.25, 9.75],
            [5.25, 6.75, 8.25, 9.75],
        ]
    )
    assert_close(affine(images_BCHW, stretched(0.5, 0.5)), expected)


def test_rows_and_columns_stretch_apart():
    # Only the columns are read at half their distance: 1 2 3 4 at 0.75, 1.25, 1.75, 2.25.
    expected = picture([[1.75, 2.25, 2.75, 3.25], [2.75, 3.25, 3.75, 4.25]])
    assert_close(affine(picture([[1.0, 2, 3, 4], [2, 3, 4, 5]]), stretched(1, 0.5)), expected)


def test_stretching_columns_by_minus_one_mirrors_left_and_right():
    assert_close(affine(picture([[1.0, 2, 3], [4, 5, 6]]), stretched(1, -1)), picture([[3.0, 2, 1], [6, 5, 4]]))


def test_each_picture_has_its_own_matrix_and_all_its_channels_share_it():
    images_BCHW = torch.cat([numbered(3, 3), 10 * numbered(3, 3)], dim=1).repeat(2, 1, 1, 1)
    actual = affine(images_BCHW, torch.cat([turned(0), turned(180)]))
    assert_close(actual, torch.stack([images_BCHW[0], images_BCHW[1].flip((-2, -1))]))


# The other pure functions


def test_flip_mirrors_where_it_is_told_to():
    images_BCHW = picture([[1.0, 2, 3], [4, 5, 6]]).repeat(2, 2, 1, 1)
    actual = flip(images_BCHW, torch.tensor([False, True]))
    assert torch.equal(actual[0], images_BCHW[0])
    assert actual[1].tolist() == [[[3, 2, 1], [6, 5, 4]]] * 2


def test_shift_moves_each_picture_by_its_own_and_all_channels_alike():
    images_BCHW = torch.cat([numbered(2, 3), 10 * numbered(2, 3)], dim=1).repeat(2, 1, 1, 1)
    actual = shift(images_BCHW, torch.tensor([0, 1]), torch.tensor([1, -1]), "constant")
    assert actual[0].tolist() == [[[0, 1, 2], [0, 4, 5]], [[0, 10, 20], [0, 40, 50]]]
    assert actual[1].tolist() == [[[0, 0, 0], [2, 3, 0]], [[0, 0, 0], [20, 30, 0]]]


@pytest.mark.parametrize(
    ("row", "column", "expected"),
    [
        (1, 0, [[1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]),
        (-1, -1, [[0, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]),
        (2, 3, [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0]]),
        (3, 0, [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]),
    ],
)
def test_cutout_paints_a_square_and_is_clipped_at_the_border(row: int, column: int, expected: list[list[int]]):
    images_BCHW = torch.ones(1, 3, 3, 4)
    assert cutout(images_BCHW, whole(row), whole(column), size=2)[0].tolist() == [expected] * 3
    assert images_BCHW.min() == 1  # what was given stays as it was


@pytest.mark.parametrize(("low", "high"), [(-40.0, 40.0), (0.8, 1.2), (-0.2, 0.2), (0.9, 1.1), (-18.0, 18.0)])
def test_between_reaches_its_ends_and_stays_within(low: float, high: float):
    ends = between(torch.tensor([0.0, 0.5, LAST]), low, high)
    torch.testing.assert_close(ends, torch.tensor([low, (low + high) / 2, high]))
    low_, high_ = torch.tensor([low, high]).tolist()  # as float32 has them
    assert low_ <= ends[0] <= ends[2] <= high_


# The classes


@pytest.mark.parametrize("step", EVERY, ids=lambda step: type(step).__name__)
@pytest.mark.parametrize("epoch", [0, 1])
def test_a_picture_s_augmentation_does_not_depend_on_its_batch(step: Augmentation, epoch: int):
    generator = torch.Generator().manual_seed(0)
    images_BCHW = torch.rand(7, 3, 6, 5, generator=generator)
    uniform_BK = torch.rand(7, step.num_uniforms, generator=generator)
    together = step(images_BCHW, uniform_BK, epoch)
    assert not torch.equal(together, images_BCHW)
    for number in range(7):
        one = slice(number, number + 1)
        assert torch.equal(step(images_BCHW[one], uniform_BK[one], epoch), together[one])
    order = torch.tensor([4, 2, 6, 0, 5, 1, 3])
    assert torch.equal(step(images_BCHW[order], uniform_BK[order], epoch), together[order])


@pytest.mark.parametrize("step", EVERY, ids=lambda step: type(step).__name__)
@pytest.mark.parametrize("extreme", [0.0, LAST])
def test_augmentation_keeps_shape_type_and_range_and_leaves_what_it_is_given(step: Augmentation, extreme: float):
    images_BCHW = torch.rand(2, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    before = images_BCHW.clone()
    actual = step(images_BCHW, torch.full((2, step.num_uniforms), extreme), 1)
    assert actual.shape == images_BCHW.shape
    assert actual.dtype == torch.float32
    assert -1e-6 <= actual.min() <= actual.max() <= 1 + 1e-6
    assert torch.equal(images_BCHW, before)


@pytest.mark.parametrize("step", EVERY, ids=lambda step: type(step).__name__)
def test_an_empty_batch_stays_empty(step: Augmentation):
    # A rank gets one where a last batch has fewer samples than there are ranks.
    assert step(torch.empty(0, 3, 4, 4), torch.empty(0, step.num_uniforms), 0).shape == (0, 3, 4, 4)


@pytest.mark.parametrize(
    ("probability", "uniform", "mirrored"),
    [(0.0, 0.0, False), (1.0, LAST, True), (0.3, 0.29, True), (0.3, 0.31, False)],
)
def test_flip_mirrors_with_its_probability(probability: float, uniform: float, mirrored: bool):
    actual = Flip(probability)(picture([[1.0, 2.0]]), at(uniform), 0)
    assert actual.flatten().tolist() == ([2, 1] if mirrored else [1, 2])


@pytest.mark.parametrize(("uniform", "first"), [(0.1, [2, 1]), (0.9, [1, 2])])
def test_alternating_flip_shows_both_sides_in_turn(uniform: float, first: list[int]):
    shown = [AlternatingFlip()(picture([[1.0, 2.0]]), at(uniform), epoch).flatten().tolist() for epoch in range(4)]
    assert shown == [first, first[::-1]] * 2


def test_alternating_flip_alone_keeps_its_numbers_for_the_run():
    assert [type(step).__name__ for step in EVERY if not step.resample_each_epoch] == ["AlternatingFlip"]


def test_shift_moves_by_each_number_of_pixels_equally_often():
    # Fifths of [0, 1) move by -2, -1, 0, 1 and 2: the bright pixel in the middle of 5 goes to each place.
    uniform_BK = torch.tensor([[0.0, LAST], [0.19, 0.81], [0.21, 0.79], [0.41, 0.59], [0.61, 0.39], [LAST, 0.0]])
    bright = torch.zeros(6, 1, 5, 5)
    bright[:, :, 2, 2] = 1
    places = Shift(2, "constant")(bright, uniform_BK, 0).nonzero()[:, 2:].tolist()
    assert places == [[0, 4], [0, 4], [1, 3], [2, 2], [3, 1], [4, 0]]


@pytest.mark.parametrize("fill", FILLS)
def test_shift_hands_its_fill_on(fill: Fill):
    expected = {"nearest": [A, A, A, B], "reflect": [B, A, A, B], "constant": [0, 0, A, B]}[fill]
    assert torch.equal(Shift(2, fill)(picture([[A, B, C, D]]), at(0.5, LAST), 0), picture([expected]))


@pytest.mark.parametrize(
    ("size", "row", "column", "top_left", "area"),
    [
        (2, 0.5, 0.5, (2, 2), 4),
        (2, 0.0, 0.5, (0, 2), 2),  # centred on row 0: its first row is cut off
        (2, 0.0, 0.0, (0, 0), 1),
        (2, LAST, LAST, (4, 4), 4),  # centred on the last pixel, which is its lower right one
        (3, 0.5, 0.5, (2, 2), 9),
        (3, LAST, LAST, (4, 4), 4),
        (20, 0.5, 0.5, (0, 0), 36),
    ],
)
def test_cutout_paints_its_square_around_a_pixel(
    size: int, row: float, column: float, top_left: tuple[int, int], area: int
):
    painted = (Cutout(size, value=0.25)(torch.ones(1, 1, 6, 6), at(row, column), 0) == 0.25)[0, 0]
    assert int(painted.sum()) == area
    assert tuple(painted.nonzero()[0].tolist()) == top_left


# The two pipelines of the notebooks. Both matrices belong to a picture of 4 x 8 pixels: a quarter turn takes
# (row, column) to (-column, row), the move is 1 row and -2 columns.


def test_image_data_generator_reads_at_rotation_of_zoom_and_mirror_plus_shift():
    step = ImageDataGenerator(rotation_range=180, shift_range=0.5, zoom_range=0.5, flip_probability=0.5)
    # +90 degrees; 0.25 * 4 rows; -0.25 * 8 columns; rows * 0.5; columns * 1.25; mirrored.
    matrix_33 = step.matrix(at(0.75, 0.75, 0.25, 0.0, 0.75, 0.49), height=4, width=8)[0]
    # (r, c) -> (0.5 r, -1.25 c) -> (0.5 r + 1, -1.25 c - 2) -> (1.25 c + 2, 0.5 r + 1)
    assert_close(matrix_33, torch.tensor([[0, 1.25, 2], [0.5, 0, 1], [0, 0, 1]]))


def test_preprocessing_layers_read_at_mirror_of_rotation_of_zoom_of_place_plus_shift():
    step = PreprocessingLayers(rotation_range=180, shift_range=0.5, zoom_range=0.5, flip_probability=0.5)
    # Mirrored; +90 degrees; both axes * 0.5; 0.25 * 4 rows; -0.25 * 8 columns.
    matrix_33 = step.matrix(at(0.49, 0.75, 0.0, 0.75, 0.25), height=4, width=8)[0]
    # (r, c) -> (r + 1, c - 2) -> (0.5 r + 0.5, 0.5 c - 1) -> (-0.5 c + 1, 0.5 r + 0.5)
    #        -> (-0.5 c + 1, -0.5 r - 0.5)
    assert_close(matrix_33, torch.tensor([[0, -0.5, 1], [-0.5, 0, -0.5], [0, 0, 1]]))


def test_image_data_generator_turns_then_moves_then_mirrors_the_picture():
    step = ImageDataGenerator(rotation_range=180, shift_range=0.5, zoom_range=0, flip_probability=1)
    # Read one row further down: the picture moves up.
    expected = shift(numbered(4, 4).rot90(-1, (2, 3)), whole(-1), whole(0), "nearest").flip(-1)
    assert_close(step(numbered(4, 4), at(0.75, 0.75, 0.5, 0.5, 0.5, 0.5), 0), expected)


def test_preprocessing_layers_mirror_then_turn_then_move_the_picture():
    step = PreprocessingLayers(rotation_range=180, shift_range=0.5, zoom_range=0, flip_probability=1)
    expected = shift(numbered(4, 4).flip(-1).rot90(-1, (2, 3)), whole(-1), whole(0), "reflect")
    assert_close(step(numbered(4, 4), at(0.5, 0.75, 0.5, 0.75, 0.5), 0), expected)


def degrees_and_factors(matrix_33: Tensor) -> tuple[float, float, float]:
    """Of rotation * zoom: the angle, and how far rows and columns are stretched."""
    angle = math.degrees(math.atan2(matrix_33[1, 0], matrix_33[0, 0]))
    return angle, float(matrix_33[:2, 0].norm()), float(matrix_33[:2, 1].norm())


@pytest.mark.parametrize(("uniform", "sign"), [(0.0, -1), (LAST, 1)])
def test_image_data_generator_reaches_as_far_as_the_notebooks_did(uniform: float, sign: int):
    matrix_33 = ImageDataGenerator().matrix(torch.full((1, 6), uniform), height=20, width=40)[0]
    assert degrees_and_factors(matrix_33) == pytest.approx((sign * 40, 1 + sign * 0.2, 1 + sign * 0.2), abs=1e-4)
    # Turned back, the move is 20 % of each side.
    assert (turned(-sign * 40)[0] @ matrix_33[:, 2])[:2].tolist() == pytest.approx([sign * 4, sign * 8], abs=1e-4)


@pytest.mark.parametrize(("uniform", "sign"), [(0.0, -1), (LAST, 1)])
def test_preprocessing_layers_reach_as_far_as_the_notebook_did(uniform: float, sign: int):
    step = PreprocessingLayers(flip_probability=0)
    matrix_33 = step.matrix(torch.full((1, 5), uniform), height=20, width=40)[0]
    assert degrees_and_factors(matrix_33) == pytest.approx((sign * 18, 1 + sign * 0.1, 1 + sign * 0.1), abs=1e-4)
    # Rotation and zoom undone, the move is 10 % of each side.
    move = torch.linalg.solve(matrix_33[:2, :2], matrix_33[:2, 2])
    assert move.tolist() == pytest.approx([sign * 2, sign * 4], abs=1e-4)


def test_image_data_generator_stretches_rows_and_columns_apart():
    matrix_33 = ImageDataGenerator().matrix(at(0.5, 0.5, 0.5, 0.0, LAST, 0.9), height=4, width=4)[0]
    assert_close(matrix_33, torch.diag(torch.tensor([0.8, 1.2, 1.0])))


def test_preprocessing_layers_stretch_rows_and_columns_alike():
    matrix_33 = PreprocessingLayers().matrix(at(0.9, 0.5, LAST, 0.5, 0.5), height=4, width=4)[0]
    assert_close(matrix_33, torch.diag(torch.tensor([1.1, 1.1, 1.0])))


@pytest.mark.parametrize(("uniform", "mirrored"), [(0.49, True), (0.51, False)])
def test_both_pipelines_mirror_half_of_the_pictures(uniform: float, mirrored: bool):
    expected = stretched(1, -1 if mirrored else 1)
    generator = ImageDataGenerator(rotation_range=0, shift_range=0, zoom_range=0)
    assert_close(generator.matrix(at(0.5, 0.5, 0.5, 0.5, 0.5, uniform), 4, 4), expected)
    layers = PreprocessingLayers(rotation_range=0, shift_range=0, zoom_range=0)
    assert_close(layers.matrix(at(uniform, 0.5, 0.5, 0.5, 0.5), 4, 4), expected)


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
def test_both_pipelines_fill_as_the_notebooks_did_unless_told_otherwise(
    step: ImageDataGenerator, expected: list[float]
):
    # Only columns move: their number is 0, all others are in the middle.
    column = {"ImageDataGenerator": 2, "PreprocessingLayers": 4}[type(step).__name__]
    uniform_BK = torch.full((1, step.num_uniforms), 0.5)
    uniform_BK[0, column] = 0.0
    assert_close(step(picture([[A, B, C, D]]), uniform_BK, 0), picture([expected]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Flip(1.5), r"probability 1.5 is outside \[0, 1\]"),
        (lambda: Flip(float("nan")), "probability nan"),
        (lambda: Shift(-1), "pixels -1"),
        (lambda: Cutout(0), "size 0"),
        (lambda: Cutout(value=-0.5), "value -0.5"),
        (lambda: ImageDataGenerator(rotation_range=181), r"rotation_range 181 is outside \[0, 180\]"),
        (lambda: ImageDataGenerator(shift_range=1.5), "shift_range 1.5"),
        (lambda: ImageDataGenerator(zoom_range=1.0), "zoom_range 1.0"),
        (lambda: ImageDataGenerator(flip_probability=-0.1), "flip_probability -0.1"),
        (lambda: ImageDataGenerator(value=255), "value 255"),
        (lambda: PreprocessingLayers(rotation_range=-1), "rotation_range -1"),
        (lambda: PreprocessingLayers(value=2), "value 2"),
    ],
)
def test_a_number_out_of_range_is_named(make: Callable[[], Augmentation], message: str):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


def test_every_augmentation_is_among_those_tested_here():
    found = {
        name for name, value in vars(augment).items() if isinstance(value, type) and issubclass(value, Augmentation)
    }
    assert found - {"Augmentation"} == {type(step).__name__ for step in EVERY}
