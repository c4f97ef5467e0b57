"""Changes of color, as of torchvision's functions of the same names, with one factor per image.

Shapes: B images in [0, 1], C channels (1 or 3), H rows, W columns.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_LUMA = (0.2989, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)


def gray(images_BCHW: Tensor) -> Tensor:
    """(B, 1, H, W)."""
    if images_BCHW.shape[1] == 1:
        return images_BCHW
    red, green, blue = images_BCHW.split(1, 1)
    return _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue


def blend(images_BCHW: Tensor, other_BCHW: Tensor | float, factor_B: Tensor) -> Tensor:
    """The other images at factor 0, the images at 1, and extrapolated above."""
    factor_B111 = factor_B[:, None, None, None]
    return (factor_B111 * images_BCHW + (1 - factor_B111) * other_BCHW).clamp(0, 1)


def adjust_brightness(images_BCHW: Tensor, factor_B: Tensor) -> Tensor:
    return blend(images_BCHW, 0.0, factor_B)


def adjust_contrast(images_BCHW: Tensor, factor_B: Tensor) -> Tensor:
    return blend(images_BCHW, gray(images_BCHW).mean((1, 2, 3), keepdim=True), factor_B)


def adjust_saturation(images_BCHW: Tensor, factor_B: Tensor) -> Tensor:
    return blend(images_BCHW, gray(images_BCHW), factor_B)


def adjust_sharpness(images_BCHW: Tensor, factor_B: Tensor) -> Tensor:
    channels, height, width = images_BCHW.shape[1:]
    if min(height, width) < 3:
        return images_BCHW
    kernel_33 = torch.ones(3, 3, dtype=images_BCHW.dtype, device=images_BCHW.device)
    kernel_33[1, 1] = 5
    blurred_BCHW = images_BCHW.clone()  # which keeps the border
    weight = (kernel_33 / kernel_33.sum()).expand(channels, 1, 3, 3)
    blurred_BCHW[:, :, 1:-1, 1:-1] = F.conv2d(images_BCHW, weight, groups=channels)
    return blend(images_BCHW, blurred_BCHW, factor_B)


def adjust_hue(images_BCHW: Tensor, turn_B: Tensor) -> Tensor:
    """Turns the hue by a fraction of the full circle in HSV."""
    if images_BCHW.shape[1] == 1:
        return images_BCHW
    red, green, blue = images_BCHW.unbind(1)
    value, low = images_BCHW.amax(1), images_BCHW.amin(1)
    chroma = value - low
    safe = torch.where(chroma > 0, chroma, 1.0)
    hue = torch.where(value == red, (green - blue) / safe % 6, (red - green) / safe + 4)
    hue = torch.where((value == green) & (value != red), (blue - red) / safe + 2, hue)
    hue = hue + 6 * turn_B[:, None, None]
    # f(n) = V - C max(0, min(k, 4 - k, 1)) with k = n + H / 60 degrees modulo 6, for red 5, green 3, blue 1.
    turned = [(n + hue) % 6 for n in (5, 3, 1)]
    return torch.stack([value - chroma * torch.minimum(k, 4 - k).clamp(0, 1) for k in turned], 1)


def posterize(images_BCHW: Tensor, bits_B: Tensor) -> Tensor:
    """Keeps the highest bits of each value."""
    levels_B111 = (2.0**bits_B)[:, None, None, None]
    return torch.minimum((images_BCHW * levels_B111).floor(), levels_B111 - 1) / levels_B111


def solarize(images_BCHW: Tensor, threshold_B: Tensor) -> Tensor:
    """Inverts the values from a threshold on."""
    return torch.where(images_BCHW >= threshold_B[:, None, None, None], 1 - images_BCHW, images_BCHW)


def autocontrast(images_BCHW: Tensor) -> Tensor:
    """Stretches the values of each channel to [0, 1]."""
    low, high = images_BCHW.amin((2, 3), keepdim=True), images_BCHW.amax((2, 3), keepdim=True)
    constant = low == high
    return torch.where(constant, images_BCHW, (images_BCHW - low) / torch.where(constant, 1.0, high - low)).clamp(0, 1)


def equalize(images_BCHW: Tensor) -> Tensor:
    """Maps the values of each channel so that all of 256 levels are as frequent as possible."""
    levels_RP = (images_BCHW * 255.999).long().clamp(0, 255).flatten(0, 1).flatten(1)  # R = B C rows of P = H W pixels
    counts_RL = torch.zeros(len(levels_RP), 256, dtype=torch.long, device=levels_RP.device)
    counts_RL.scatter_add_(1, levels_RP, torch.ones_like(levels_RP))
    below_RL = counts_RL.cumsum(1)
    largest_R1 = counts_RL.gather(1, levels_RP.amax(1, keepdim=True)) if levels_RP.numel() else counts_RL[:, :1]
    step_R1 = (levels_RP.shape[1] - largest_R1) // 255
    table_RL = (below_RL.roll(1, 1) + step_R1 // 2) // step_R1.clamp(min=1)
    table_RL[:, 0] = (step_R1 // 2 // step_R1.clamp(min=1))[:, 0]
    equalized_RP = table_RL.clamp(0, 255).gather(1, levels_RP)
    equalized_RP = torch.where(step_R1 == 0, levels_RP, equalized_RP)
    return (equalized_RP / 255).view(images_BCHW.shape).to(images_BCHW.dtype)
