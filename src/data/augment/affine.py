"""Affine transformations, one matrix per image.

Shapes: B images, C channels, H rows, W columns.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from src.data.augment.augmentation import Fill

PADDING_MODES = {"nearest": "border", "reflect": "reflection", "constant": "zeros"}


def affine(images_BCHW: Tensor, matrix_B33: Tensor, fill: Fill = "nearest", value: float = 0.0) -> Tensor:
    """Resamples each image once, bilinearly.

    Args:
        images_BCHW: float.
        matrix_B33: maps the (row, column, 1) of an output pixel, in pixels from the center of the image, to the
            position in the input from which it is read.
        fill: pixels outside the image: `nearest` the closest edge pixel, `reflect` the image mirrored at its border
            (edge pixel repeated), `constant` the `value`. These are the modes of the same names in Keras.
        value: for `constant`.
    """
    if len(images_BCHW) == 0:  # grid_sample rejects it, but a rank's shard of a last batch can be empty
        return images_BCHW
    height, width = images_BCHW.shape[-2:]
    rows_H1 = torch.arange(height, device=images_BCHW.device)[:, None] - (height - 1) / 2
    columns_W = torch.arange(width, device=images_BCHW.device) - (width - 1) / 2
    # grid_sample takes (x, y) from -1 to 1 between the image's borders; the matrix takes (row, column) in pixels.
    grid_B23 = torch.stack([matrix_B33[:, 1] / (width / 2), matrix_B33[:, 0] / (height / 2)], dim=1)
    by_row_B211, by_column_B211, offset_B211 = grid_B23[..., None, None].unbind(2)
    # With F.affine_grid, which multiplies matrices of width three, this function took four times as long.
    grid_B2HW = by_row_B211 * rows_H1 + (by_column_B211 * columns_W + offset_B211)
    grid_BHW2 = grid_B2HW.permute(0, 2, 3, 1)
    padding_mode = PADDING_MODES[fill]
    if fill != "constant" or value == 0:
        return F.grid_sample(images_BCHW, grid_BHW2, padding_mode=padding_mode, align_corners=False)
    return F.grid_sample(images_BCHW - value, grid_BHW2, padding_mode=padding_mode, align_corners=False) + value


def rotation(radians_B: Tensor) -> Tensor:
    """(B, 3, 3) matrices that rotate (row, column)."""
    cos_B, sin_B = radians_B.cos(), radians_B.sin()
    zero_B, one_B = torch.zeros_like(cos_B), torch.ones_like(cos_B)
    rows = [cos_B, -sin_B, zero_B, sin_B, cos_B, zero_B, zero_B, zero_B, one_B]
    return torch.stack(rows, dim=-1).view(-1, 3, 3)


def translation(rows_B: Tensor, columns_B: Tensor) -> Tensor:
    """(B, 3, 3) matrices that translate by (rows, columns) pixels."""
    matrix_B33 = torch.eye(3, device=rows_B.device).repeat(len(rows_B), 1, 1)
    matrix_B33[:, 0, 2], matrix_B33[:, 1, 2] = rows_B, columns_B
    return matrix_B33


def scaling(rows_B: Tensor, columns_B: Tensor) -> Tensor:
    """(B, 3, 3) matrices that scale (rows, columns); -1 for the columns flips horizontally."""
    return torch.diag_embed(torch.stack([rows_B, columns_B, torch.ones_like(rows_B)], dim=-1))
