"""A trained network from decoded images to class probabilities.

Shapes: B images, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

from torch import Tensor, nn

from src.data.image_spec import ImageSpec
from src.inference.preprocessing import Preprocessing


class ImageClassifier(nn.Module):
    """Takes decoded images of any size, uint8 (B, H, W, 3), and returns probabilities (B, K), in evaluation mode."""

    def __init__(self, net: nn.Module, spec: ImageSpec) -> None:
        super().__init__()
        self.preprocessing = Preprocessing(spec)
        self.net = net
        self.spec = spec
        self.eval()

    def forward(self, images_BHWC: Tensor) -> Tensor:
        return self.of_resized(self.preprocessing.resized(images_BHWC))

    def of_resized(self, images_BHWC: Tensor) -> Tensor:
        """The same of images that `decode` has resized to the stored size."""
        return self.spec.probabilities(self.net(self.preprocessing.normalized(images_BHWC)).float())
