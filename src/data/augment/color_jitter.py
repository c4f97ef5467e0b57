"""Random brightness, contrast, saturation and hue.

Shapes: B images, C channels, H rows, W columns, K random numbers per image.
"""

import math

from torch import Tensor

from src.data.augment.augmentation import Augmentation, within
from src.data.augment.color import adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation
from src.rng import between


class ColorJitter(Augmentation):
    """Changes brightness, contrast, saturation and hue at random, as torchvision's `ColorJitter`, in this order."""

    num_uniforms = 4

    def __init__(
        self, brightness: float = 0.4, contrast: float = 0.4, saturation: float = 0.4, hue: float = 0.0
    ) -> None:
        """
        Args:
            brightness: the factor is uniform in [1 - brightness, 1 + brightness], and at least 0.
            contrast: the same of contrast.
            saturation: the same of saturation.
            hue: largest turn of the hue in either direction as a fraction of the full circle, in [0, 0.5].
        """
        self.brightness = within("brightness", brightness, 0, math.inf)
        self.contrast = within("contrast", contrast, 0, math.inf)
        self.saturation = within("saturation", saturation, 0, math.inf)
        self.hue = within("hue", hue, 0, 0.5)

    def __call__(self, images_BCHW: Tensor, uniform_BK: Tensor, epoch: int) -> Tensor:
        operations = (adjust_brightness, adjust_contrast, adjust_saturation)
        for uniform_B, operation, range_ in zip(
            uniform_BK.unbind(1), operations, (self.brightness, self.contrast, self.saturation), strict=False
        ):
            if range_:
                images_BCHW = operation(images_BCHW, between(uniform_B, max(0.0, 1 - range_), 1 + range_))
        return adjust_hue(images_BCHW, between(uniform_BK[:, 3], -self.hue, self.hue)) if self.hue else images_BCHW
