"""The synthetic shapes: images, shapes and the dataset."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch
from jsonargparse import ArgumentParser
from torch import Tensor, nn

from src.data.datamodule import ImageDataModule
from src.data.shapes import SHAPES, Shapes, coverage, render

CENTERED = [0.5, 0.5, 0.5]  # in the center, with radius 0.8


def covered(label: int, turn: float = 0.0, mirror: float = 0.0, size: int = 64) -> Tensor:
    """The coverage of one shape in the center of its image, (H, W)."""
    return coverage(torch.tensor([label]), torch.tensor([[*CENTERED, turn, mirror]]), size)[0]


# The dataset


def test_images_are_uint8_and_channels_last():
    images_NHWC, labels_N = Shapes(test_size=25, image_size=16).read("test")
    assert images_NHWC.shape == (25, 16, 16, 3)
    assert images_NHWC.dtype == torch.uint8
    assert images_NHWC.is_contiguous()
    assert labels_N.dtype == torch.int64


@pytest.mark.parametrize("size", [1, 7, 600])  # 600 reaches into the second chunk
def test_image_is_the_same_in_a_set_of_any_size(size: int):
    few, many = Shapes(train_size=size).read("train"), Shapes(train_size=1100).read("train")
    assert torch.equal(few.images_NHWC, many.images_NHWC[:size])
    assert torch.equal(few.labels_N, many.labels_N[:size])


def test_subsets_and_seeds_have_different_images():
    first = Shapes(train_size=20, test_size=20)
    other = Shapes(train_size=20, image_seed=1)
    images_NHWC = torch.cat([first.read("train")[0], first.read("test")[0], other.read("train")[0]])
    assert len(images_NHWC.flatten(1).unique(dim=0)) == 60


def test_seed_of_the_run_does_not_change_the_images():
    assert torch.equal(Shapes(train_size=20, seed=1).read("train")[0], Shapes(train_size=20).read("train")[0])


def test_larger_image_shows_the_same_shape():
    small, large = (Shapes(test_size=10, image_size=size).read("test")[0].double() for size in (32, 64))
    shrunk = large.view(10, 32, 2, 32, 2, 3).mean((2, 4))
    # Only the noise differs, which is at most 0.05.
    assert (shrunk - small).abs().mean() < 0.05 * 255


def test_classes_are_balanced():
    assert Shapes(train_size=50).read("train").labels_N.bincount().tolist() == [5] * 10


def test_mean_and_std_are_of_the_default_training_set():
    shapes = Shapes()
    pixels_NC = shapes.read("train").images_NHWC.flatten(0, 2).float() / 255
    assert [round(value, 4) for value in pixels_NC.mean(0).tolist()] == list(shapes.mean)
    assert [round(value, 4) for value in pixels_NC.std(0).tolist()] == list(shapes.std)


def test_a_linear_model_is_not_enough():
    shapes = Shapes(train_size=2000, test_size=500)
    train, test = shapes.read("train"), shapes.read("test")
    x_NP, test_x_NP = (images.images_NHWC.flatten(1).float() / 255 - 0.5 for images in (train, test))
    # Ridge regression on the classes: the optimal weights of a linear model in closed form. Softmax regression
    # trained to convergence on the default set reached 0.23.
    targets_NK = nn.functional.one_hot(train.labels_N) - 0.1
    gram_NN = x_NP @ x_NP.T
    for decay in (10, 100):
        weights_NK = torch.linalg.solve(gram_NN + decay * torch.eye(2000), targets_NK)
        fitted_N = (gram_NN @ weights_NK).argmax(1) == train.labels_N
        right_N = (test_x_NP @ x_NP.T @ weights_NK).argmax(1) == test.labels_N
        assert fitted_N.float().mean() > 0.3  # far above chance
        assert right_N.float().mean() < 0.4


# The shapes


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("disc", math.pi * 0.8**2),
        ("ring", math.pi * (0.9**2 - 0.5**2)),
        ("square", 1.4**2),
        ("triangle", 3 * math.sqrt(3) / 4),
        ("star", 10 * 0.42 * math.sin(math.pi / 5) / 2),
        ("cross", 2 * 1.84 * 0.54 - 0.54**2),
        ("pill", 4 * 0.62 * 0.33 + math.pi * 0.33**2),
    ],
)
def test_coverage_sums_to_the_area_of_the_shape(name: str, area: float):
    half_side = 64 / 2
    pixels = covered(Shapes.classes.index(name), turn=0.1).sum().item()
    assert pixels == pytest.approx(area * (0.8 * half_side) ** 2, rel=0.01)


@pytest.mark.parametrize("label", range(10), ids=Shapes.classes)
def test_edges_are_smooth(label: int):
    values_HW = covered(label, turn=0.07)
    partly = ((values_HW > 0.1) & (values_HW < 0.9)).sum()
    assert values_HW.min() == 0 and values_HW.max() == 1
    assert partly > 32


@pytest.mark.parametrize("label", range(10), ids=Shapes.classes)
def test_shapes_are_rotated_and_mirrored(label: int):
    upright_HW = covered(label)
    assert torch.allclose(covered(label, turn=0.25), upright_HW.rot90(), atol=1e-3)
    assert torch.allclose(covered(label, mirror=0.9), upright_HW.flip(-1), atol=1e-3)


@pytest.mark.parametrize(("one", "other"), list(combinations(range(10), 2)))
def test_no_shape_is_another_one_rotated_or_mirrored(one: int, other: int):
    turns = [(turn / 24, mirror) for turn in range(24) for mirror in (0.0, 0.9)]
    u_B5 = torch.tensor([[*CENTERED, *turn] for turn in turns])
    others_BHW = coverage(torch.full((len(turns),), other), u_B5, 32)
    one_HW = covered(one, size=32)
    common_B = torch.minimum(one_HW, others_BHW).sum((1, 2))
    together_B = torch.maximum(one_HW, others_BHW).sum((1, 2))
    assert (common_B / together_B).max() < 0.9


def test_shape_contrasts_with_its_background():
    n = 2000
    u_B14 = torch.rand(n, 14, generator=torch.Generator().manual_seed(0))
    u_B14[:, 3:8] = torch.tensor([*CENTERED, 0.0, 0.0])
    discs_BHWC = render(torch.zeros(n, dtype=torch.int64), u_B14, torch.full((n, 32, 32), 0.5)).double() / 255
    center_B, corner_B = discs_BHWC[:, 16, 16].mean(-1), discs_BHWC[:, 0, 0].mean(-1)
    # 0.4 of the range from 0.2 to 0.8, less 0.06 for the waves.
    assert (center_B - corner_B).abs().min() > 0.17
    assert 0.45 < (center_B > corner_B).double().mean() < 0.55


# The arguments


@pytest.mark.parametrize("arguments", [{"train_size": 0}, {"test_size": -1}, {"image_size": 7}])
def test_sizes_too_small_are_rejected(arguments: dict[str, int]):
    [(name, value)] = arguments.items()
    with pytest.raises(ValueError, match=f"{name} {value} must be at least"):
        Shapes(**arguments)


def test_command_line_has_the_arguments_of_the_base_class(capsys: pytest.CaptureFixture[str]):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(ImageDataModule, "data")
    arguments = ["--data=src.data.shapes.Shapes", "--data.batch_size=8", "--data.train_size=90"]
    config = parser.parse_args(arguments)
    data = parser.instantiate(config).data
    assert (data.batch_size, data.train_size) == (8, 90)
    with pytest.raises(SystemExit):
        parser.parse_args(["--data.help=src.data.shapes.Shapes"])
    assert "images per step" in capsys.readouterr().out


def test_there_are_ten_classes():
    assert Shapes.classes == tuple(SHAPES) and len(SHAPES) == 10
