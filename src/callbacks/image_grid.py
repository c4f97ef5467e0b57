"""A figure of small images with captions.

Shapes: N images, H rows, W columns, C channels, the first one or three of which are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from src.callbacks.log_image import WIDTH, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINE, _TITLE, _MARGIN = 12, 22, 4  # in pixels: a line of a caption, the title, the space around an image


def image_grid(
    images_NHWC: NDArray | Tensor,
    captions: Sequence[str],
    columns: int,
    title: str = "",
    maps_NHW: NDArray | Tensor | None = None,
) -> Figure:
    """A figure of images row by row, each with a caption above it.

    Args:
        images_NHWC: uint8, or float in [0, 1].
        captions: one for each image.
        columns: images per row.
        title: of the figure.
        maps_NHW: class-activation maps in [0, 1], drawn over the images; transparent at 0.
    """
    rows = -(-len(images_NHWC) // columns)
    top = _MARGIN + (_TITLE if title else 0)
    caption = _LINE * max((text.count("\n") + 1 for text in captions if text), default=0)
    cell = (WIDTH - 2 * _MARGIN) / columns
    side = cell - _MARGIN
    tall = side * images_NHWC.shape[1] / images_NHWC.shape[2]
    figure = new_figure(round(top + rows * (caption + tall + _MARGIN) + _MARGIN))
    figure.set_layout_engine("none")
    figure.suptitle(title, fontsize=8, parse_math=False)
    # One axes for all of them, in pixels: one for each would take ten times as long.
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(figure.bbox.height, 0), autoscale_on=False)
    axes.axis("off")
    for number, text in enumerate(captions):
        left = _MARGIN * 1.5 + number % columns * cell
        upper = top + number // columns * (caption + tall + _MARGIN) + caption
        place = {"extent": (left, left + side, upper + tall, upper), "aspect": "auto"}
        image_HWC = np.asarray(images_NHWC[number])
        axes.imshow(image_HWC[..., :3] if image_HWC.shape[-1] >= 3 else image_HWC[..., :1].repeat(3, -1), **place)
        if maps_NHW is not None:
            map_HW = np.asarray(maps_NHW[number])
            axes.imshow(map_HW, cmap="plasma", alpha=0.7 * map_HW, vmin=0, vmax=1, **place)
        style = {"fontsize": 6.5, "ha": "center", "va": "bottom", "parse_math": False, "linespacing": 1.1}
        axes.text(left + side / 2, upper - 2, text, **style)
    return figure
