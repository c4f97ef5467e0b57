"""Random erasing (Zhong 2017, arXiv 1708.04896).

Shapes: B images, C channels, H rows, W columns, K random numbers per image.
"""

from torch import Tensor

from src.data.augment.augmentation import Augmentation, within
from src.data.augment.boxes import NUM_UNIFORMS, ordered, random_boxes


class RandomErasing(Augmentation):
    """Fills a random rectangle of each image (Zhong 2017, arXiv 1708.04896)."""

    num_uniforms = NUM_UNIFORMS + 1

    def __init__(
        self,
        probability: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        value: float = 0.5,
    ) -> None:
        """
        Args:
            probability: that an image is changed, in [0, 1].
            scale: area as a fraction of the image, from and to.
            ratio: width divided by height, from and to.
            value: gray value of the rectangle, 0 (black) to 1 (white).
        """
        self.probability = within("probability", probability, 0, 1)
        self.scale = ordered("scale", scale, 0, 1)
        self.ratio = ordered("ratio", ratio, 0.01, 100)
        self.value = within("value", value, 0, 1)

    def __call__(self, images_BCHW: Tensor, uniform_BK: Tensor, epoch: int) -> Tensor:
        height, width = images_BCHW.shape[-2:]
        inside_B1HW = random_boxes(uniform_BK[:, :-1], height, width, self.scale, self.ratio).mask(height, width)
        chosen_B111 = (uniform_BK[:, -1] < self.probability)[:, None, None, None]
        return images_BCHW.masked_fill(inside_B1HW & chosen_B111, self.value)
