"""The preview of augmented training pictures."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from src.data.augment import Flip
from tests.toys import Squares, classifier, trainer


def test_the_preview_has_a_row_a_picture_and_a_column_an_epoch(tmp_path: Path) -> None:
    data = Squares(augment=[Flip(1.0)])
    trainer(tmp_path, logger=True).fit(classifier(), datamodule=data, test_after_fit=False)
    with Image.open(tmp_path / "preview.png") as picture:
        assert picture.size == (10 * 5 + 1, 8 * 5 + 1)  # pictures of 4 pixels with a border of one


def test_the_preview_shows_the_augmentation(tmp_path: Path) -> None:
    data = Squares(augment=[Flip(1.0)])
    trainer(tmp_path, logger=True).fit(classifier(), datamodule=data, test_after_fit=False)
    with Image.open(tmp_path / "preview.png") as file:
        picture = file.convert("RGB")
    plain, flipped = picture.crop((1, 1, 5, 5)), picture.crop((6, 1, 10, 5))
    assert plain.transpose(Image.Transpose.FLIP_LEFT_RIGHT).tobytes() == flipped.tobytes()
