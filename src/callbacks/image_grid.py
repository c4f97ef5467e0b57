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

_LINE = 13  # pixels of a line of a caption


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
    height, width = images_NHWC.shape[1:3]
    lines = max((caption.count("\n") + 1 for caption in captions if caption), default=0)
    side = (WIDTH - 8) / columns - 6
    row = side * height / width + lines * _LINE + 8
    figure = new_figure(round(rows * row + (22 if title else 6)))
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)  # pyright: ignore
    figure.suptitle(title, fontsize=8, parse_math=False)
    for number, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if number < len(images_NHWC):
            image_HWC = np.asarray(images_NHWC[number])
            axes.imshow(image_HWC[..., :3] if image_HWC.shape[-1] >= 3 else image_HWC[..., :1].repeat(3, -1))
            if maps_NHW is not None:
                map_HW = np.asarray(maps_NHW[number])
                axes.imshow(map_HW, cmap="plasma", alpha=0.7 * map_HW, vmin=0, vmax=1)
            axes.set_title(captions[number], fontsize=6.5, pad=2, parse_math=False, linespacing=1.1)
    return figure
