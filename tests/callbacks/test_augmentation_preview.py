"""The preview of augmented training images."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from torch import nn

from src.callbacks import AugmentationPreview
from src.data.augment import Flip, RandomResizedCrop
from tests.toys import Linear, Squares, classifier, trainer


def test_one_row_per_image_and_one_column_per_epoch(tmp_path: Path) -> None:
    preview = AugmentationPreview(num_images=3, num_epochs=2)
    trainer(tmp_path, callbacks=preview).fit(classifier(), datamodule=Squares(), test_after_fit=False)
    with Image.open(tmp_path / "preview.png") as image:
        assert image.size == (3 * 5 + 1, 3 * 5 + 1)  # 4 pixels per image and 1 per border


def test_the_columns_after_the_first_are_augmented(tmp_path: Path) -> None:
    data = Squares(augment=[Flip(1.0)])
    trainer(tmp_path, logger=True).fit(classifier(), datamodule=data, test_after_fit=False)
    with Image.open(tmp_path / "preview.png") as file:
        image = file.convert("RGB")
    original, flipped = image.crop((1, 1, 5, 5)), image.crop((6, 1, 10, 5))
    assert original.transpose(Image.Transpose.FLIP_LEFT_RIGHT).tobytes() == flipped.tobytes()


def test_of_larger_images_the_center_is_shown(tmp_path: Path) -> None:
    data = Squares(augment=[RandomResizedCrop(3)])
    data.seen_size = 3
    preview = AugmentationPreview(num_images=2, num_epochs=1)
    fitting = trainer(tmp_path, callbacks=preview)
    fitting.fit(classifier(net=Linear(inputs=27)), datamodule=data, test_after_fit=False)
    with Image.open(tmp_path / "preview.png") as image:
        assert image.size == (2 * 4 + 1, 2 * 4 + 1)


def test_smaller_images_of_training_are_shown_as_large_as_those_of_evaluation(tmp_path: Path) -> None:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    preview = AugmentationPreview(num_images=2, num_epochs=1)
    fitting = trainer(tmp_path, callbacks=preview)
    fitting.fit(classifier(net=net), datamodule=Squares(augment=[RandomResizedCrop(3)]), test_after_fit=False)
    with Image.open(tmp_path / "preview.png") as image:
        assert image.size == (2 * 5 + 1, 2 * 5 + 1)


def test_a_preview_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "preview.png").mkdir()
    with pytest.warns(UserWarning, match=r"the preview of augmented images is left out: .*IsADirectoryError"):
        trainer(tmp_path).fit(classifier(), datamodule=Squares(), test_after_fit=False)


def test_no_images() -> None:
    with pytest.raises(ValueError, match="num_images 0 and num_epochs 9 must be at least 1"):
        AugmentationPreview(num_images=0)
