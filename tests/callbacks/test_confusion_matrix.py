"""The confusion matrix of a test."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from PIL import Image

from src.callbacks.confusion_matrix import draw
from tests.toys import Squares, classifier, trainer


def test_the_confusion_matrix_is_a_picture_and_numbers(tmp_path: Path) -> None:
    data = Squares()
    trainer(tmp_path).test(classifier(), datamodule=data)
    content = json.loads((tmp_path / "confusion_matrix.json").read_text())
    assert content["classes"] == ["red", "green", "blue"]
    assert [sum(row) for row in content["counts"]] == [10, 10, 10]
    with Image.open(tmp_path / "confusion_matrix.png") as picture:
        assert picture.width > 3 * 40


def test_a_cell_is_the_darker_the_larger_its_share() -> None:
    picture = draw(torch.tensor([[90, 10], [0, 5]]), ["a", "b"])
    left = picture.width - 8 - 2 * 44
    corners = [picture.getpixel((left + 44 * column + 3, left + 44 * row + 3)) for row in (0, 1) for column in (0, 1)]
    full, few, none, all_of_five = (sum(corner) for corner in corners)  # pyright: ignore
    assert all_of_five < full < few < none == 3 * 255
