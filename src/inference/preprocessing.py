"""From decoded images of any size to the input of a network, as a module that is exported with it.

Images are resized by two matrix products, whose matrices hold the weights of Pillow's antialiased bilinear filter
(Pillow's src/libImaging/Resample.c), quantized and rounded as there: the pixels equal those of `decode`.

Shapes: B images, C channels, H rows, W columns, S rows or columns of the resized images, N of the image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from src.data.image_spec import ImageSpec, center, normalize
from src.errors import UserError

_QUANTUM = 2.0**-22  # of Pillow's weights
_GRAY = (19595, 38470, 7471)  # of red, green and blue in Pillow's gray, in 1/65536


class Preprocessing(nn.Module):
    """What happens to an image between decoding and the network: resize, center crop, normalization."""

    mean_C11: Tensor
    std_C11: Tensor
    gray_C: Tensor

    def __init__(self, spec: ImageSpec) -> None:
        """Raises UserError if images of files cannot become the input: it has neither 3 channels nor 1."""
        super().__init__()
        if spec.channels not in (1, 3):
            raise UserError(f"the model takes {spec.channels} channels; image files have 3 (RGB), or 1 (gray)")
        self.spec = spec
        self.stored_size = spec.stored_size or spec.size
        self.register_buffer("mean_C11", torch.tensor(spec.mean).view(-1, 1, 1))
        self.register_buffer("std_C11", torch.tensor(spec.std).view(-1, 1, 1))
        self.register_buffer("gray_C", torch.tensor(_GRAY, dtype=torch.float32), persistent=False)

    def forward(self, images_BHWC: Tensor) -> Tensor:
        """Decoded images, uint8 (B, H, W, 3), become the input of the network (B, C, h, w)."""
        return self.normalized(self.resized(images_BHWC))

    def resized(self, images_BHWC: Tensor) -> Tensor:
        """Images (B, h, w, 3) of whole numbers, float64, as `decode` resizes them."""
        height, width = images_BHWC.shape[1:3]
        images_BCHW = images_BHWC.permute(0, 3, 1, 2).double()
        rows_SN, columns_SN = self._weights(height, width)
        images_BCHW = _rounded(images_BCHW @ columns_SN.T)  # columns first, as Pillow
        return _rounded(rows_SN @ images_BCHW).permute(0, 2, 3, 1)

    def normalized(self, images_BHWC: Tensor) -> Tensor:
        """The input of the network of images that have their stored size."""
        if self.spec.channels == 1:
            images_BHWC = ((images_BHWC.float() @ self.gray_C + 32768) / 65536).floor()[..., None]
        images_BCHW = center(images_BHWC.permute(0, 3, 1, 2), self.spec.size)
        return normalize(images_BCHW.float() / 255, self.mean_C11, self.std_C11)

    def _weights(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """The weights of the rows and of the columns of an image, by the boxes of `decode`."""
        rows, columns = self.stored_size
        # 0-dimensional tensors, which an exported graph computes from the size of what it gets.
        size = torch.tensor([1.0, 1.0], dtype=torch.float64, device=self.gray_C.device)
        height_, width_ = size[0] * height, size[1] * width
        top, left = size[0] * 0, size[0] * 0
        seen_height, seen_width = height_, width_
        rows_, columns_ = size[0] * rows, size[1] * columns
        if self.spec.resize == "crop":
            seen_height = torch.minimum(height_, width_ / (columns / rows))
            seen_width = torch.minimum(width_, height_ * (columns / rows))
            top, left = (height_ - seen_height) * 0.5, (width_ - seen_width) * 0.5
        elif self.spec.resize == "pad":
            rows_ = torch.minimum(rows_, (height_ / width_ * columns).round())
            columns_ = torch.minimum(columns_, (width_ / height_ * rows).round())
        return (
            _filter(rows, rows_, height, top, seen_height),
            _filter(columns, columns_, width, left, seen_width),
        )


def _filter(length: int, covered: Tensor, size: int, start: Tensor, seen: Tensor) -> Tensor:
    """The weight (S, N) of each of `size` pixels in each of `length` resized ones, of which the `covered` middle ones
    show the `seen` pixels from `start`."""
    first, last = start.float(), (start + seen).float()  # as Pillow
    start, scale = first.double(), (last - first).double() / covered.clamp(min=1)
    positions_S1 = torch.arange(length, dtype=torch.float64, device=start.device)[:, None]
    positions_S1 = positions_S1 - ((length - covered) * 0.5).round()
    centers_S1 = start + (positions_S1 + 0.5) * scale
    pixels_N = torch.arange(size, dtype=torch.float64, device=start.device)
    weights_SN = (1 - (pixels_N + 0.5 - centers_S1).abs() / scale.clamp(min=1)).clamp(min=0)
    weights_SN = weights_SN / weights_SN.sum(1, keepdim=True).clamp(min=_QUANTUM)
    inside_S1 = (positions_S1 >= 0) & (positions_S1 < covered)
    return (weights_SN / _QUANTUM + 0.5).floor() * _QUANTUM * inside_S1


def _rounded(images: Tensor) -> Tensor:
    return (images + 0.5).floor().clamp(0, 255)
