"""What every augmentation promises, and the checks of their arguments."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from src.data import augment
from src.data.augment import (
    AlternatingFlip,
    Augmentation,
    ColorJitter,
    Cutout,
    Flip,
    ImageDataGenerator,
    PreprocessingLayers,
    RandAugment,
    RandomErasing,
    RandomResizedCrop,
    Shift,
    TrivialAugment,
)
from tests.data.augment.cases import LAST

EVERY: list[Augmentation] = [
    Flip(),
    AlternatingFlip(),
    Shift(2),
    Cutout(3),
    ImageDataGenerator(),
    PreprocessingLayers(),
    ColorJitter(hue=0.1),
    RandAugment(),
    RandomErasing(),
    RandomResizedCrop(5),
    TrivialAugment(),
]


@pytest.mark.parametrize("step", EVERY, ids=lambda step: type(step).__name__)
@pytest.mark.parametrize("epoch", [0, 1])
def test_result_for_an_image_does_not_depend_on_its_batch(step: Augmentation, epoch: int):
    generator = torch.Generator().manual_seed(0)
    images_BCHW = torch.rand(7, 3, 6, 5, generator=generator)
    uniform_BK = torch.rand(7, step.num_uniforms, generator=generator)
    together = step(images_BCHW, uniform_BK, epoch)
    assert together.shape != images_BCHW.shape or not torch.equal(together, images_BCHW)
    for number in range(7):
        one = slice(number, number + 1)
        assert torch.equal(step(images_BCHW[one], uniform_BK[one], epoch), together[one])
    order = torch.tensor([4, 2, 6, 0, 5, 1, 3])
    assert torch.equal(step(images_BCHW[order], uniform_BK[order], epoch), together[order])


@pytest.mark.parametrize("step", EVERY, ids=lambda step: type(step).__name__)
@pytest.mark.parametrize("extreme", [0.0, LAST])
def test_shape_dtype_and_range_are_kept_and_the_input_is_not_modified(step: Augmentation, extreme: float):
    images_BCHW = torch.rand(2, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    before = images_BCHW.clone()
    actual = step(images_BCHW, torch.full((2, step.num_uniforms), extreme), 1)
    assert actual.shape == ((2, 3, 5, 5) if isinstance(step, RandomResizedCrop) else images_BCHW.shape)
    assert actual.dtype == torch.float32
    assert -1e-6 <= actual.min() <= actual.max() <= 1 + 1e-6
    assert torch.equal(images_BCHW, before)


@pytest.mark.parametrize("step", EVERY, ids=lambda step: type(step).__name__)
def test_empty_batch(step: Augmentation):
    # A rank gets one if the last batch has fewer samples than there are ranks.
    assert step(torch.empty(0, 3, 5, 5), torch.empty(0, step.num_uniforms), 0).shape == (0, 3, 5, 5)


def test_only_alternating_flip_keeps_its_numbers_in_all_epochs():
    assert [type(step).__name__ for step in EVERY if not step.resample_each_epoch] == ["AlternatingFlip"]


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
        (lambda: ColorJitter(hue=0.6), r"hue 0.6 is outside \[0, 0.5\]"),
        (lambda: RandAugment(magnitude=31), r"magnitude 31 is outside \[0, 30\]"),
        (lambda: RandomErasing(scale=(0.5, 0.2)), r"scale \[0.5, 0.2\] must be two numbers in \[0, 1\], the smaller"),
        (lambda: RandomResizedCrop(0), "size 0"),
    ],
)
def test_number_out_of_range_is_rejected(make: Callable[[], Augmentation], message: str):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


def test_all_augmentations_are_tested():
    found = {
        name for name, value in vars(augment).items() if isinstance(value, type) and issubclass(value, Augmentation)
    }
    assert found - {"Augmentation"} == {type(step).__name__ for step in EVERY}
