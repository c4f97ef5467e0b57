"""Class counts, and duplicates across subsets."""

from __future__ import annotations

from pathlib import Path

import torch

from src.cli.doctor import images
from src.cli.doctor.finding import Note
from src.data import ImageSet
from tests.toys import Attributes, Squares


class Leaking(Squares):
    """The first test image is the first training image; the last validation image is the second of training, with
    another label."""

    def read(self, subset: str) -> ImageSet:
        number = ["train", "test"].index(subset)
        pixels_NHWC = torch.randint(256, (30, 8, 8, 3), generator=torch.Generator().manual_seed(number))
        train_NHWC = torch.randint(256, (30, 8, 8, 3), generator=torch.Generator().manual_seed(0))
        if subset == "test":
            pixels_NHWC[0] = train_NHWC[0]
        else:
            pixels_NHWC[29] = pixels_NHWC[1]
        return ImageSet(pixels_NHWC.to(torch.uint8), torch.arange(30) % 3)


def test_classes_are_counted_in_each_subset() -> None:
    data = Squares(size=31)
    data.setup("fit")
    assert images.classes(data) == (
        "3 classes: training 24, 8 each; validation 7, 2 (green) to 3 (red); test 31, 10 (green) to 11 (red)"
    )
    lacking = Squares(size=30, val_fraction=0.05)
    lacking.setup("fit")
    found = images.classes(lacking)
    assert isinstance(found, Note) and found.endswith("no images of red in validation")


def test_images_with_several_classes(tmp_path: Path) -> None:
    data, file = Attributes(), tmp_path / "duplicates.csv"
    data.setup("fit")
    data.image_set("test")
    data._sets["train"].images_NHWC[29] = data._sets["train"].images_NHWC[1]
    data._sets["train"].labels_N[[1, 29]] = torch.tensor([[1, 0, 1], [0, 0, 0]])
    counts_K = data.image_set("train").labels_N[data.train_indices].sum(0)
    assert f"3 classes: training 24, {int(counts_K.min())} (" in images.classes(data)
    assert "1 pairs of equal" in (found := images.duplicates(data, file)) and "have different labels" in found
    assert "training,1,red;blue,validation,29,none,1" in file.read_text().splitlines()


def test_duplicates_across_subsets_and_their_labels(tmp_path: Path) -> None:
    data, file = Leaking(), tmp_path / "duplicates.csv"
    data.setup("fit")
    found = images.duplicates(data, file)
    assert isinstance(found, Note)
    assert found == (
        "2 pairs of equal and 0 of similar images; 1 validation images resemble one of another subset; "
        f"1 test images resemble one of another subset; 1 pairs have different labels: see {file}"
    )
    assert file.read_text().splitlines() == [
        "subset_a,index_a,class_a,subset_b,index_b,class_b,equal",
        "training,1,green,validation,29,blue,1",
        "training,0,red,test,0,red,1",
    ]


def test_images_without_duplicates(tmp_path: Path) -> None:
    data = Squares()
    data.setup("fit")
    data._sets["train"] = Leaking().read("train")
    data._sets["train"].images_NHWC[29] = 0
    data._sets["test"] = ImageSet(255 - data._sets["train"].images_NHWC[:5], torch.zeros(5, dtype=torch.long))
    assert images.duplicates(data, tmp_path / "none.csv") == "none found"
