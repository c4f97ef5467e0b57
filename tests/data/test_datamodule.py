"""From sample indices to augmented batches, on images whose pixels are their indices.

Shapes: N samples, B of them in a batch, C channels, H rows, W columns, K random numbers per image.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import struct
import textwrap
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from lightning import Trainer
from torch import Tensor

from src.data.augment import AlternatingFlip, Augmentation, Flip, Mix
from src.data.batch import Batch, ImageSet, IndexBatch
from src.data.datamodule import ImageDataModule, Subset, _fits
from src.data.image_spec import ImageSpec
from src.data.index_loader import IndexLoader
from src.errors import UserError
from tests.toys import Squares

CPU = torch.device("cpu")
MEAN, STD = (0.5, 0.0), (0.5, 0.25)


class Numbered(ImageDataModule):
    """Image n has two columns: the first is n in both channels, the second is n + 50 and n + 100. The test set starts
    at 200 (`test_from`), so that its images differ from those of the training set."""

    classes = ("even", "odd", "never")
    mean = MEAN
    std = STD
    train_size, test_size, test_from = 10, 3, 200

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"batch_size": 4, "normalize": "unit", **kwargs})
        self.subsets_read: list[Subset] = []

    def read(self, subset: Subset) -> ImageSet:
        self.subsets_read.append(subset)
        first, size = (0, self.train_size) if subset == "train" else (self.test_from, self.test_size)
        n_N = torch.arange(first, first + size)
        if subset == "test":
            images_NHWC = n_N.view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
        else:
            left_NC, right_NC = torch.stack([n_N, n_N], 1), torch.stack([n_N + 50, n_N + 100], 1)
            images_NHWC = torch.stack([left_NC, right_NC], dim=1)[:, None]
        return ImageSet(images_NHWC.to(torch.uint8).contiguous(), n_N % 2)


def attach(data: ImageDataModule, **state: Any) -> Any:
    """Gives `data` a trainer with the attributes that it reads."""
    defaults = {
        "training": False,
        "testing": False,
        "predicting": False,
        "current_epoch": 0,
        "overfit_batches": 0,
        "global_rank": 0,
        "world_size": 1,
    }
    data.trainer = cast(Trainer, SimpleNamespace(**{**defaults, **state}))
    return data.trainer


def fitted(trainer: dict[str, Any] | None = None, **kwargs: Any) -> Numbered:
    """A data module in the middle of `fit`."""
    data = Numbered(**kwargs)
    attach(data, training=True, **(trainer or {}))
    data.setup("fit")
    return data


def samples(loader: IndexLoader | list[IndexLoader]) -> list[list[int]]:
    """The sample indices of each batch."""
    assert isinstance(loader, IndexLoader)
    return [batch.indices_B.tolist() for batch in loader]


def flat(batches: list[list[int]]) -> list[int]:
    return [index for batch in batches for index in batch]


def gathered(data: ImageDataModule, indices: Sequence[int], size: int = 4) -> Batch:
    return data.transfer_batch_to_device(IndexBatch(torch.tensor(indices), size), CPU, 0)


def prepared(data: ImageDataModule, indices: Sequence[int]) -> Batch:
    return data.on_after_batch_transfer(gathered(data, indices), 0)


class Noise(Augmentation):
    """Replaces each image with its random number."""

    num_uniforms = 1

    def __call__(self, images_BCHW: Tensor, uniform_BK: Tensor, epoch: int) -> Tensor:
        return uniform_BK[:, :1, None, None].expand_as(images_BCHW)


class FixedNoise(Noise):
    resample_each_epoch = False


class Add(Augmentation):
    """Inserts a digit after the decimal point: 0.5 becomes 0.1 * digit + 0.05, which shows the order of the steps."""

    num_uniforms = 3

    def __init__(self, digit: int) -> None:
        self.digit = digit

    def __call__(self, images_BCHW: Tensor, uniform_BK: Tensor, epoch: int) -> Tensor:
        assert uniform_BK.shape == (len(images_BCHW), 3)
        return images_BCHW / 10 + self.digit / 10


# Sample indices


@pytest.mark.parametrize(
    ("stage", "subsets"),
    [("fit", ["train"]), ("validate", ["train"]), ("test", ["test"]), ("predict", ["test"])],
)
def test_each_stage_reads_only_what_it_needs(stage: str, subsets: list[Subset]):
    data = Numbered()
    data.setup(stage)
    assert data.subsets_read == subsets


def test_each_subset_is_read_once():
    data = Numbered()
    for stage in ("fit", "validate", "test", "fit", "predict"):
        data.setup(stage)
    assert data.subsets_read == ["train", "test"]


def test_validation_is_the_tail_of_the_training_set():
    data = fitted(val_fraction=0.3)
    assert sorted(flat(samples(data.train_dataloader()))) == [0, 1, 2, 3, 4, 5, 6]
    assert samples(data.val_dataloader()) == [[7, 8, 9]]


def test_without_validation_there_is_no_validation_loader():
    data = fitted(val_fraction=0.0)
    assert data.val_dataloader() == []
    assert sorted(flat(samples(data.train_dataloader()))) == list(range(10))


def test_split_and_split_seed_are_used():
    def validation(**kwargs: Any) -> list[int]:
        return flat(samples(fitted(val_fraction=0.4, **kwargs).val_dataloader()))

    sampled = [validation(split="random", split_seed=seed) for seed in range(3)]
    assert sampled[0] != sampled[1] != sampled[2]
    assert validation(split="random", split_seed=1, seed=5) == sampled[1]
    assert [index % 2 for index in validation(split="stratified")].count(0) == 2  # two even ones, two odd ones


@pytest.mark.parametrize("stage", ["test", "predict"])
def test_test_set_is_used_in_order(stage: str):
    data = Numbered(batch_size=2)
    data.setup(stage)
    assert samples(data.test_dataloader()) == samples(data.predict_dataloader()) == [[0, 1], [2]]


def test_only_training_drops_the_last_batch():
    data = fitted(val_fraction=0.3, drop_last=True)
    assert [len(batch) for batch in samples(data.train_dataloader())] == [4]
    assert [len(batch) for batch in samples(data.val_dataloader())] == [3]


def test_each_epoch_has_another_order():
    data = fitted()
    loader = data.train_dataloader()
    orders = []
    for epoch in (0, 1, 0):
        attach(data, current_epoch=epoch)
        orders.append(samples(loader))
    assert orders[0] == orders[2] != orders[1]


def test_the_seed_changes_the_order():
    assert samples(fitted(seed=1).train_dataloader()) != samples(fitted(seed=2).train_dataloader())


def test_overfit_batches_are_the_same_in_each_epoch():
    data = fitted({"overfit_batches": 1, "current_epoch": 3})
    assert samples(data.train_dataloader()) == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize(("rank", "expected"), [(0, [[0, 2], [4, 6], [8]]), (1, [[1, 3], [5, 7], [9]])])
def test_batch_size_is_divided_among_the_ranks(rank: int, expected: list[list[int]]):
    data = fitted({"global_rank": rank, "world_size": 2, "overfit_batches": 1}, val_fraction=0.0)
    assert samples(data.train_dataloader()) == expected


def test_evaluation_is_divided_without_padding():
    seen = []
    for rank in range(2):
        data = fitted({"global_rank": rank, "world_size": 2}, val_fraction=0.5)
        seen += flat(samples(data.val_dataloader()))
    assert sorted(seen) == [5, 6, 7, 8, 9]


def test_without_a_trainer_there_is_one_process_and_epoch_zero():
    data = Numbered(val_fraction=0.0)
    data.setup("fit")
    assert samples(data.train_dataloader()) == samples(fitted(val_fraction=0.0).train_dataloader())


# From indices to images


def test_images_and_labels_are_gathered_by_index():
    batch = gathered(fitted(), [3, 0], size=9)
    assert batch.images_BCHW.tolist() == [[[[3, 53]], [[3, 103]]], [[[0, 50]], [[0, 100]]]]
    assert batch.labels_B.tolist() == [1, 0]
    assert batch.indices_B.tolist() == [3, 0]
    assert batch.size == 9


@pytest.mark.parametrize("stage", ["testing", "predicting"])
def test_test_images_are_gathered_from_the_test_set(stage: str):
    data = fitted()
    data.setup("test")
    attach(data, **{stage: True})
    assert gathered(data, [1]).images_BCHW[0, 0].tolist() == [[201, 201]]


def test_validation_images_are_gathered_from_the_training_set():
    data = fitted()
    data.setup("test")
    attach(data, training=False)
    assert gathered(data, [9]).images_BCHW[0, 0].tolist() == [[9, 59]]


def test_images_are_transferred_as_uint8_and_become_float_in_channels_last():
    data = fitted(augment=[Flip(0.5)])
    assert gathered(data, [1, 2]).images_BCHW.dtype == torch.uint8
    images_BCHW = prepared(data, [1, 2]).images_BCHW
    assert images_BCHW.dtype == torch.float32
    assert images_BCHW.shape == (2, 2, 1, 2)
    assert images_BCHW.is_contiguous(memory_format=torch.channels_last)


def test_empty_batch():
    # A rank gets one if the last batch has fewer samples than there are ranks.
    data = fitted(augment=[Flip()])
    empty = data.transfer_batch_to_device(IndexBatch(torch.empty(0, dtype=torch.int64), 1), CPU, 0)
    batch = data.on_after_batch_transfer(empty, 0)
    assert batch.images_BCHW.shape == (0, 2, 1, 2)
    assert batch.size == 1


def test_unit_divides_by_255():
    expected = torch.tensor([[[[2 / 255, 52 / 255]], [[2 / 255, 102 / 255]]]])
    torch.testing.assert_close(prepared(fitted(normalize="unit"), [2]).images_BCHW, expected)


def test_standard_subtracts_the_mean_of_each_channel_and_divides_by_its_std():
    # (x - 0.5) / 0.5 in the first channel, (x - 0) / 0.25 in the second.
    expected = torch.tensor([[[[2 / 255 * 2 - 1, 52 / 255 * 2 - 1]], [[2 / 255 * 4, 102 / 255 * 4]]]])
    torch.testing.assert_close(prepared(fitted(normalize="standard"), [2]).images_BCHW, expected)


def test_standard_is_the_default_and_follows_augmentation():
    data = Numbered(normalize="standard", augment=[Add(5)])
    attach(data, training=True)
    data.setup("fit")
    # Black becomes 0.5, which is the mean of the first channel and 2 std of the second.
    torch.testing.assert_close(prepared(data, [0]).images_BCHW[0, :, 0, 0], torch.tensor([0.0, 2.0]))
    assert inspect.signature(ImageDataModule.__init__).parameters["normalize"].default == "standard"


@pytest.mark.parametrize(("training", "changed"), [(True, True), (False, False)])
def test_only_training_images_are_augmented(training: bool, changed: bool):
    data = fitted(augment=[Flip(1.0)])
    attach(data, training=training)
    first, second = (prepared(data, [1]).images_BCHW[0, 0, 0] * 255).tolist()
    assert (first > second) is changed


def test_augmentation_does_not_change_the_images_in_memory():
    data = fitted(augment=[Flip(1.0)])
    first = prepared(data, list(range(10))).images_BCHW
    assert torch.equal(prepared(data, list(range(10))).images_BCHW, first)
    assert torch.equal(gathered(data, [4]).images_BCHW[0, 0], torch.tensor([[4, 54]]))


# Augmentation


def test_augmentations_are_applied_in_order():
    data = fitted(augment=[Add(1), Add(2), Add(3)])
    # 0 -> 0.1 -> 0.21 -> 0.321
    torch.testing.assert_close(prepared(data, [0]).images_BCHW[0, 0, 0, 0], torch.tensor(0.321))


def numbers(data: ImageDataModule, indices: Sequence[int], epoch: int) -> list[float]:
    """The random numbers of these samples."""
    return data.augment_images(torch.zeros(len(indices), 1, 1, 1), torch.tensor(indices), epoch).flatten().tolist()


def test_numbers_of_a_sample_do_not_depend_on_its_batch():
    data = fitted(augment=[Noise()])
    all_ten = numbers(data, list(range(10)), epoch=1)
    assert len(set(all_ten)) == 10
    assert numbers(data, [7], epoch=1) == [all_ten[7]]
    assert numbers(data, [9, 2, 7], epoch=1) == [all_ten[9], all_ten[2], all_ten[7]]


def test_numbers_depend_only_on_seed_and_epoch():
    data = fitted(augment=[Noise()])
    sampled = {epoch: numbers(data, [0, 1, 2], epoch) for epoch in (0, 1, 2)}
    assert sampled[0] != sampled[1] != sampled[2]
    assert numbers(data, [0, 1, 2], epoch=1) == sampled[1]  # after a later epoch
    assert numbers(fitted(augment=[Noise()]), [0, 1, 2], epoch=2) == sampled[2]  # without the earlier epochs
    assert numbers(fitted(augment=[Noise()], seed=1), [0, 1, 2], epoch=1) != sampled[1]
    assert numbers(fitted(augment=[Noise()], split_seed=1, split="random"), [0, 1, 2], epoch=1) == sampled[1]


def test_two_augmentations_of_one_class_have_different_numbers():
    first = numbers(fitted(augment=[Noise()]), [0, 1, 2], epoch=0)
    second = numbers(fitted(augment=[Noise(), Noise()]), [0, 1, 2], epoch=0)
    assert first != second


def test_augmentation_can_keep_its_numbers_in_all_epochs():
    data = fitted(augment=[FixedNoise()])
    assert numbers(data, [0, 1, 2], epoch=0) == numbers(data, [0, 1, 2], epoch=5)


def test_alternating_flip_flips_each_image_in_every_second_epoch():
    data = fitted(augment=[AlternatingFlip()])
    images_BCHW = torch.tensor([0.0, 1.0]).expand(10, 1, 1, 2)
    even, odd = (data.augment_images(images_BCHW, torch.arange(10), epoch) for epoch in (0, 1))
    assert torch.equal(even, odd.flip(-1))


def test_augmentation_uses_the_epoch_of_the_trainer():
    data = fitted({"current_epoch": 3}, augment=[Noise()])
    torch.testing.assert_close(
        prepared(data, [5, 6]).images_BCHW[:, 0, 0, 0], torch.tensor(numbers(data, [5, 6], epoch=3))
    )


def test_no_augmentation_is_the_default():
    images_BCHW = torch.rand(2, 1, 1, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(fitted().augment_images(images_BCHW, torch.tensor([0, 1]), 0), images_BCHW)


def test_numbers_are_on_the_device_of_the_images():
    # `meta` stands in for a GPU. A callback can augment images on the CPU during training.
    data = fitted(augment=[Noise()])
    for device in (CPU, torch.device("meta"), CPU):
        assert data.augment_images(torch.zeros(1, 1, 1, 1, device=device), torch.tensor([0]), 0).device == device


# Description and errors


def test_description_of_the_subsets_that_were_read():
    data = Numbered()
    assert data.describe() == {}
    data.setup("test")
    # Three images of 1 x 2 pixels and 2 channels: all 200, all 201, all 202; their labels are 0, 1, 0.
    content = bytes([200] * 4 + [201] * 4 + [202] * 4) + struct.pack("<3q", 0, 1, 0)
    expected = {"images": 3, "shape_HWC": [1, 2, 2], "sha256": hashlib.sha256(content).hexdigest()}
    assert data.describe() == {"test": expected}
    data.setup("fit")
    assert data.describe().keys() == {"test", "train"}
    assert data.describe()["train"]["images"] == 10


def test_num_classes():
    assert Numbered().num_classes == 3


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batch_size_below_one_is_rejected(batch_size: int):
    with pytest.raises(ValueError, match=f"batch_size {batch_size} must be at least 1"):
        Numbered(batch_size=batch_size)


@pytest.mark.parametrize("val_fraction", [1.0, 1.5, -0.2, float("nan")])
def test_val_fraction_out_of_range_is_rejected_by_the_constructor(val_fraction: float):
    with pytest.raises(ValueError, match=rf"^val_fraction {val_fraction} is outside \[0, 1\)"):
        Numbered(val_fraction=val_fraction)


def test_batch_size_that_does_not_divide_is_rejected():
    data = fitted({"world_size": 3})
    with pytest.raises(UserError, match="batch_size 4 does not divide by 3 processes"):
        data.train_dataloader()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (ImageSet(torch.zeros(2, 1, 1, 3), torch.tensor([0, 1])), r"returns images \(2, 1, 1, 3\) of torch.float32"),
        (ImageSet(torch.zeros(2, 1, 1, 3, dtype=torch.uint8), torch.tensor([0])), r"and labels \(1,\); it must return"),
        (ImageSet(torch.zeros(1, 1, 1, 3, dtype=torch.uint8), torch.tensor([3])), "labels from 3 to 3; with 3 classes"),
        (
            ImageSet(torch.zeros(1, 1, 1, 3, dtype=torch.uint8), torch.tensor([0.7])),
            r"labels that are not whole numbers, such as 0\.7",
        ),
    ],
)
def test_what_read_returns_is_checked(images: ImageSet, message: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Numbered, "read", lambda self, subset: images)
    with pytest.raises(UserError, match=rf"Numbered\.read .*{message}"):
        Numbered().setup("fit")


def test_read_may_return_arrays_and_a_list_of_labels(monkeypatch: pytest.MonkeyPatch):
    arrays: Any = (np.zeros((8, 1, 1, 3), np.uint8), [0, 1, 2, 0, 1, 2, 0, 1])
    monkeypatch.setattr(Numbered, "read", lambda self, subset: arrays)
    images_NHWC, labels_N = Numbered().image_set("train")
    assert images_NHWC.dtype == torch.uint8 and labels_N.tolist() == arrays[1]


@pytest.mark.parametrize("classes", ["abc", ("a", "a", "b"), (1, "1", 2)])
def test_each_class_needs_a_name_of_its_own(classes: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Numbered, "classes", classes)
    with pytest.raises(UserError, match=r"Numbered\.classes is .*; it must be a tuple with a name of its own for each"):
        Numbered().setup("fit")


def test_example_in_the_docstring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    images_NHWC, labels_N = np.zeros((10, 4, 4, 3), np.uint8), np.arange(10) % 2
    np.savez("data/flowers_train.npz", images=images_NHWC, labels=labels_N)
    text = inspect.getdoc(ImageDataModule)
    assert text
    code = textwrap.dedent(text.split("::\n")[1].split("\nIt may")[0])
    namespace = {"ImageDataModule": ImageDataModule, "ImageSet": ImageSet, "np": np, "torch": torch}
    exec(code, namespace)
    data = cast(Any, namespace["Flowers"])(batch_size=4)
    data.setup("fit")
    batch = data.on_after_batch_transfer(gathered(data, [0, 3]), 0)
    assert batch.images_BCHW.shape == (2, 3, 4, 4) and batch.labels_B.tolist() == [0, 1]


@pytest.mark.parametrize(("kind", "free"), [("cuda", 1000), ("xpu", 1000), ("mps", 700), ("meta", math.inf)])
def test_a_dataset_moves_to_a_device_with_more_than_twice_its_size_free(
    kind: str, free: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.accelerator, "get_memory_info", lambda device: (1000, 5000))
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 1000)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 300)
    for size in (300, 400, 600):
        images_NHWC = torch.zeros(size, 1, 1, 1, dtype=torch.uint8)
        assert _fits(images_NHWC, torch.device(kind)) == (2 * size < free)


def test_a_training_without_batches_is_refused() -> None:
    data = Squares(batch_size=25, drop_last=True)  # 24 training images
    data.setup("fit")
    with pytest.raises(UserError, match="batch_size 25 is larger than the 24 training images"):
        data.train_dataloader()


# The classes and the normalization of a model


def spec(classes: tuple[str, ...], channels: int = 2) -> ImageSpec:
    return ImageSpec(classes, (0.1, 0.2), (0.3, 0.4), (1, 2), channels)


def test_specification_of_the_images():
    data = Numbered(normalize="standard")
    data.setup("fit")
    assert data.spec == ImageSpec(("even", "odd", "never"), MEAN, STD, (1, 2), 2, stored_size=(1, 2))
    data.normalize = "unit"
    assert (data.spec.mean, data.spec.std) == ((0.0, 0.0), (1.0, 1.0))


@pytest.mark.parametrize("early", [True, False])
def test_labels_are_those_of_the_classes_of_a_model(early: bool):
    data = Numbered()
    if not early:
        data.setup("fit")
    data.use_spec(spec(("new", "never", "odd", "even")))
    data.setup("fit")
    assert data.image_set("train").labels_N.tolist() == [3, 2] * 5
    assert data.classes == ("new", "never", "odd", "even") and data.num_classes == 4
    data.use_spec(spec(("even", "odd", "never", "new")))
    assert data.image_set("train").labels_N.tolist() == [0, 1] * 5
    assert data.image_set("test").labels_N.tolist() == [0, 1, 0]
    assert (data.spec.mean, data.spec.std) == ((0.1, 0.2), (0.3, 0.4))


def test_data_with_the_specification_of_unnormalized_images_do_not_normalize():
    data = fitted(normalize="unit")
    data.use_spec(data.spec)
    assert data.normalize == "unit"
    other = fitted(normalize="standard")
    other.use_spec(data.spec)
    assert torch.equal(prepared(other, [1]).images_BCHW, gathered(other, [1]).images_BCHW / 255)


def test_unknown_classes_or_other_channels_are_refused():
    data = fitted()
    with pytest.raises(UserError, match="the classes odd, never, which the model does not have; it was trained"):
        data.use_spec(spec(("even", "new")))
    with pytest.raises(UserError, match="the data have 2 channels; the model was trained on 3"):
        data.use_spec(spec(("even", "odd", "never"), channels=3))


# Mixtures


class Half(Mix):
    """The mean of two images; the weight is the image's random number."""

    num_uniforms = 1

    def __call__(self, images_BCHW: Tensor, partners_BCHW: Tensor, uniform_BK: Tensor) -> tuple[Tensor, Tensor]:
        return (images_BCHW + partners_BCHW) / 2, uniform_BK[:, 0]


def mixed_batches(world_size: int) -> dict[int, tuple[float, int, int, float]]:
    """For each sample of an epoch: its first pixel, its label, the other label and its weight."""
    found = {}
    for rank in range(world_size):
        data = fitted({"world_size": world_size, "global_rank": rank}, mix=Half(), val_fraction=0.0, batch_size=4)
        for indices in data.train_dataloader():
            batch = data.on_after_batch_transfer(data.transfer_batch_to_device(indices, CPU, 0), 0)
            assert batch.partner_labels_B is not None and batch.weights_B is not None
            pixels_B = (batch.images_BCHW[:, 0, 0, 0] * 255 * 2).round()
            for values in zip(
                batch.indices_B, pixels_B, batch.labels_B, batch.partner_labels_B, batch.weights_B, strict=True
            ):
                index, *rest = (value.item() for value in values)
                found[index] = tuple(rest)
    return found


def test_the_partner_is_that_of_the_global_batch():
    alone = mixed_batches(1)
    assert len(alone) == 10
    for index, (pixel, label, partner_label, _) in alone.items():
        partner = int(pixel) - index  # image n has the value n
        assert (label, partner_label) == (index % 2, partner % 2)
        assert alone[partner][0] == pixel
    assert any(int(pixel) != 2 * index for index, (pixel, *_) in alone.items())
    assert mixed_batches(2) == alone
    assert mixed_batches(4) == alone


def test_evaluation_does_not_mix():
    data = fitted(mix=Half())
    attach(data)
    assert prepared(data, [0, 1]).weights_B is None


# Balanced classes


class Skewed(Numbered):
    def read(self, subset: Subset) -> ImageSet:
        images = super().read(subset)
        return ImageSet(images.images_NHWC, (torch.arange(len(images.labels_N)) >= 8).long())


def test_repeated_images_of_an_epoch_are_augmented_differently():
    found: dict[int, tuple[int, float]] = {}  # the sample at each position of the epoch, and its number
    for world_size in (1, 2):
        for rank in range(world_size):
            data = Skewed(augment=[Noise()], balanced=True, val_fraction=0.0, batch_size=2)
            attach(data, training=True, world_size=world_size, global_rank=rank)
            data.setup("fit")
            assert data.class_counts().tolist() == [8, 2, 0]
            for step, indices in enumerate(data.train_dataloader()):
                batch = data.on_after_batch_transfer(data.transfer_batch_to_device(indices, CPU, 0), 0)
                values_B = batch.images_BCHW[:, 0, 0, 0]
                for place, pair in enumerate(zip(batch.indices_B.tolist(), values_B.tolist(), strict=True)):
                    assert found.setdefault(step * 2 + place * world_size + rank, pair) == pair
    samples = [sample for sample, _ in found.values()]
    assert len(found) == 10 and len(set(samples)) == 7  # five of the large class, and both of the small one
    assert len(set(found.values())) == 10


def test_each_sample_validates_in_one_fold():
    seen = []
    for fold in range(4):
        data = Squares(size=30, folds=4, fold=fold, val_fraction=0.9)
        data.setup("fit")
        assert sorted([*data.train_indices.tolist(), *data.val_indices.tolist()]) == list(range(30))
        assert len(data.val_indices) in (7, 8)
        seen += data.val_indices.tolist()
    assert sorted(seen) == list(range(30))


@pytest.mark.parametrize(
    ("folds", "fold", "words"), [(1, 0, "folds 1 must"), (3, 3, r"fold 3 is outside \[0, 3\)"), (None, 1, "fold 1 is")]
)
def test_folds_out_of_range_are_rejected_by_the_constructor(folds: int | None, fold: int, words: str):
    with pytest.raises(ValueError, match=words):
        Squares(folds=folds, fold=fold)
