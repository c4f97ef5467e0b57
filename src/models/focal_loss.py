"""The focal loss (Lin 2017, arXiv 1708.02002).

Shapes: B images, K classes.
"""

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss


class FocalLoss(nn.Module):
    """torchvision's sigmoid focal loss of each class, summed over the classes: well classified images count less. Given
    as `model.loss`."""

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0) -> None:
        """
        Args:
            alpha: weight of the true class in [0, 1], and 1 - alpha of the others; -1 for none.
            gamma: how much less well classified images count; 0 is binary cross-entropy.
        """
        super().__init__()
        self.alpha = alpha
        self.gamma = gamma

    def forward(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        """The loss of each image (B,); for targets (B, K), where an image can have several classes, (B, K)."""
        if labels_B.dim() == 2:
            return sigmoid_focal_loss(logits_BK, labels_B, self.alpha, self.gamma, reduction="none")
        targets_BK = F.one_hot(labels_B, logits_BK.shape[1]).to(logits_BK.dtype)
        return sigmoid_focal_loss(logits_BK, targets_BK, self.alpha, self.gamma, reduction="none").sum(1)
