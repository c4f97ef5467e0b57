from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset
from torchvision.transforms.functional import to_pil_image, to_tensor

from src.data import TorchDataset
from src.errors import UserError
from tests.toys import Linear, classifier, fit


class Grays(Dataset):
    """Image n has the gray value n and the label n modulo 3; in one of the forms that datasets return."""

    reads = 0

    def __init__(self, form: str = "tensor", size: int = 12, start: int = 0) -> None:
        self.form, self.size, self.start = form, size, start

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[Any, int]:
        Grays.reads += 1
        value = (self.start + index) % 256
        image_HWC = np.full((4, 5, 3), value, np.uint8)
        forms = {
            "tensor": lambda: to_tensor(image_HWC),
            "bytes": lambda: torch.from_numpy(image_HWC).movedim(-1, 0),
            "array": lambda: image_HWC,
            "gray array": lambda: image_HWC[..., 0],
            "image": lambda: to_pil_image(image_HWC),
            "gray image": lambda: Image.new("L", (5, 4), value),
        }
        return forms[self.form](), value % 3


class Named(Grays):
    classes = ("zero", "one", "two", "three")


def ready(folder: Path, train: Dataset, test: Dataset | None = None, stage: str = "fit", **kwargs) -> TorchDataset:
    made = TorchDataset(train, test, cache_dir=str(folder / "cache"), **{"val_fraction": 0.25, **kwargs})
    made.prepare_data()
    made.setup(stage)
    return made


@pytest.mark.parametrize("form", ["tensor", "bytes", "array", "gray array", "image", "gray image"])
def test_samples_of_every_form(form: str, tmp_path: Path) -> None:
    images_NHWC, labels_N = ready(tmp_path, Grays(form)).image_set("train")
    assert images_NHWC.shape == (12, 4, 5, 1 if "gray" in form else 3) and images_NHWC.dtype == torch.uint8
    assert (images_NHWC == torch.arange(12).view(-1, 1, 1, 1)).all()
    assert labels_N.tolist() == [0, 1, 2] * 4


def test_classes_are_those_of_the_dataset_or_its_labels(tmp_path: Path) -> None:
    assert ready(tmp_path, Grays()).classes == ("0", "1", "2")
    assert ready(tmp_path, Named()).classes == ("zero", "one", "two", "three")
    assert ready(tmp_path, Named(), classes=["a", "b", "c"]).classes == ("a", "b", "c")


def test_each_sample_is_read_once(tmp_path: Path) -> None:
    ready(tmp_path, Grays(size=2000))
    Grays.reads = 0
    images_NHWC, _ = ready(tmp_path, Grays(size=2000)).image_set("train")
    assert Grays.reads < 100
    assert images_NHWC[1999, 0, 0, 0] == 1999 % 256
    assert ready(tmp_path, Grays(size=2000, start=1)).image_set("train").images_NHWC[0, 0, 0, 0] == 1


class Relabeled(Grays):
    """One of its samples has another label."""

    def __init__(self, relabeled: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.transform = lambda image: image  # cannot be pickled
        self.relabeled = relabeled

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image, label = super().__getitem__(index)
        return image, (label + 1) % 3 if index == self.relabeled else label


def test_all_is_read_again_where_an_attribute_has_changed(tmp_path: Path) -> None:
    for relabeled in (None, 7, torch.tensor(9)):  # not one of the samples that are compared
        labels_N = ready(tmp_path, Relabeled(relabeled, size=300)).image_set("train").labels_N
        changed = (labels_N != torch.arange(300) % 256 % 3).nonzero()[:, 0].tolist()
        assert changed == ([] if relabeled is None else [int(relabeled)])
    Grays.reads = 0
    ready(tmp_path, Relabeled(torch.tensor(9), size=300))
    assert Grays.reads < 100


def test_mean_and_std_are_measured(tmp_path: Path) -> None:
    made = ready(tmp_path, Grays(size=2))  # values of 0 and 1
    assert made.mean == (round(0.5 / 255, 4),) * 3 and made.std == (round(0.5 / 255, 4),) * 3


def test_fit_and_test(tmp_path: Path) -> None:
    data = TorchDataset(Grays(), Grays(start=100), cache_dir=str(tmp_path / "cache"), val_fraction=0.25, batch_size=4)
    ended = fit(tmp_path / "run", classifier(net=Linear(inputs=60)), data, test=True)
    assert "test/acc" in ended.callback_metrics
    assert data.image_set("test").images_NHWC[0, 0, 0, 0] == 100


class Bits(Grays):
    """An image of the gray value n has the classes of the bits of n."""

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image, _ = super().__getitem__(index)
        value = self.start + index
        bits = [value >> bit & 1 for bit in range(3)]
        vectors = {"array": np.array(bits), "tensor": torch.tensor(bits), "image": [float(bit) for bit in bits]}
        return image, vectors[self.form]


@pytest.mark.parametrize("form", ["array", "tensor", "image"])
def test_samples_of_several_classes(form: str, tmp_path: Path) -> None:
    made = ready(tmp_path, Bits(form), classes=["one", "two", "four"])
    labels_NK = made.image_set("train").labels_N
    assert made.multi_label and labels_NK.dtype == torch.int64
    assert labels_NK[:6].tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 1]]
    assert ready(tmp_path, Bits(form)).classes == ("0", "1", "2")


def test_fit_and_test_of_several_classes(tmp_path: Path) -> None:
    data = TorchDataset(Bits(), Bits(start=100), cache_dir=str(tmp_path / "cache"), val_fraction=0.25, batch_size=4)
    ended = fit(tmp_path / "run", classifier(net=Linear(inputs=60), multi_label=True), data, test=True)
    assert {"test/map", "test/f1_of/2"} <= ended.callback_metrics.keys()


def test_a_label_in_an_array_of_one_is_an_integer(tmp_path: Path) -> None:
    class InArray(Grays):
        def __getitem__(self, index: int) -> tuple[Any, Any]:
            image, label = super().__getitem__(index)
            return image, np.array([label])

    made = ready(tmp_path, InArray())
    assert not made.multi_label and made.image_set("train").labels_N.tolist() == [0, 1, 2] * 4


def test_what_cannot_be_used_is_reported(tmp_path: Path) -> None:
    class Other(Grays):
        def __getitem__(self, index: int) -> tuple[Any, int]:
            return np.zeros((4 + index, 4), np.uint8 if self.form == "sizes" else np.float64), 0

    with pytest.raises(UserError, match=r"sample 1 of Other has shape \(5, 4, 1\) and sample 0 \(4, 4, 1\)"):
        ready(tmp_path, Other("sizes"))
    with pytest.raises(UserError, match=r"sample 0 of Other is an image \(4, 4, 1\) of float64"):
        ready(tmp_path, Other("floats"))
    labels: dict[int, Any] = {0: [0, 1], 1: [0, 1, 1], 2: [0, 3]}

    class Labels(Grays):
        def __getitem__(self, index: int) -> tuple[Any, Any]:
            return super().__getitem__(index)[0], labels[self.start + index]

    with pytest.raises(UserError, match=r"sample 1 of Labels has labels of shape \(3,\) and sample 0 of \(2,\)"):
        ready(tmp_path, Labels(size=2))
    with pytest.raises(UserError, match=r"sample 1 of Labels has the label \[0, 3\]; it must be an integer, or a vec"):
        ready(tmp_path, Labels(size=2, start=1))
    with pytest.raises(UserError, match=r"data\.test is null"):
        ready(tmp_path, Grays(), stage="test")


class Returns(Grays):
    """Each sample is the same."""

    def __init__(self, sample: Any, size: int = 12) -> None:
        super().__init__(size=size)
        self.sample = sample

    def __getitem__(self, index: int) -> Any:
        return self.sample


IMAGE = torch.zeros(3, 4, 5)


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (IMAGE, "sample 0 of Returns is a Tensor; it must be a tuple of an image and a label"),
        ((IMAGE, 0, 1), "sample 0 of Returns is a tuple of 3; it must be"),
        (
            (IMAGE + 255, 0),
            r"floats from 255 to 255; they must be in \[0, 1\]. Leave out a transform such as Normalize",
        ),
        ((IMAGE - 0.5, 0), "floats from -0.5 to -0.5; they"),
        ((IMAGE * float("nan"), 0), "floats from nan to nan; they"),
        ((IMAGE, 0.5), "sample 0 of Returns has the label 0.5; it must be an integer"),
        ((IMAGE, float("nan")), "has the label nan"),
        ((IMAGE, "cat"), "has the label cat"),
        ((IMAGE, None), "has the label None"),
    ],
)
def test_a_sample_of_another_kind_is_refused(sample: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        ready(tmp_path, Returns(sample))


def test_an_image_may_leave_the_range_by_rounding(tmp_path: Path) -> None:
    assert ready(tmp_path, Returns((IMAGE + 1.003, 1))).image_set("train").images_NHWC.unique().tolist() == [255]


def test_an_empty_dataset_and_other_classes_for_the_test_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Labeled has no samples"):

        class Labeled(Grays):
            targets = (0, 1)

        ready(tmp_path, Labeled(size=0))

    class Fewer(Named):
        classes = ("zero", "two", "three")

    with pytest.raises(
        ValueError, match=r"data\.train has the classes zero, one, two, three, and data.test zero, two, "
    ):
        ready(tmp_path, Named(), Fewer())
    assert ready(tmp_path, Named(), Fewer(), classes=["a", "b", "c"]).num_classes == 3
