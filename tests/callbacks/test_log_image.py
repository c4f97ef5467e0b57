"""Images for the loggers that show images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from lightning.pytorch.loggers import CSVLogger

from src.callbacks.image_grid import image_grid
from src.callbacks.log_image import image_loggers, new_figure, pixels
from tests.toys import trainer


def test_a_figure_is_an_opaque_white_image_of_its_size() -> None:
    image_HWC = pixels(new_figure(120))
    assert image_HWC.shape == (120, 350, 3)
    assert image_HWC.dtype == np.uint8
    assert (image_HWC == 255).all()


def test_images_keep_their_colors_and_fill_the_grid_row_by_row() -> None:
    red_green_blue = torch.eye(3)[:, None, None].expand(3, 8, 8, 3)
    image_HWC = pixels(image_grid(red_green_blue, ["a", "b", "c"], columns=2, title="three"))
    assert image_HWC.shape[1] == 350
    height, width = image_HWC.shape[:2]
    middles = [(0.35, 0.25), (0.35, 0.75), (0.8, 0.25), (0.8, 0.75)]
    found = [image_HWC[int(y * height), int(x * width)].tolist() for y, x in middles]
    assert found == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]


def test_gray_images_are_gray() -> None:
    image_HWC = pixels(image_grid(torch.full((1, 8, 8, 1), 100, dtype=torch.uint8), [""], columns=1))
    height, width = image_HWC.shape[:2]
    assert image_HWC[height // 2, width // 2].tolist() == [100, 100, 100]


def test_a_map_covers_the_image_where_it_is_not_zero() -> None:
    black_NHWC, maps_NHW = torch.zeros(1, 8, 8, 3), torch.zeros(1, 8, 8)
    maps_NHW[0, :, 4:] = 1
    image_HWC = pixels(image_grid(black_NHWC, [""], 1, maps_NHW=maps_NHW)).astype(int)
    height, width = image_HWC.shape[:2]
    left, right = (image_HWC[height // 2, int(x * width)].sum() for x in (0.25, 0.75))
    assert left == 0 < 200 < right


def test_loggers_without_images_have_none(tmp_path: Path) -> None:
    assert image_loggers(trainer(tmp_path, logger=CSVLogger(tmp_path))) == []
