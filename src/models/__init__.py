"""Networks: each a `torch.nn.Module` that maps images (B, C, H, W) to logits (B, K); and a loss."""

from src.models.cnn import DeepCNN, SimpleCNN
from src.models.focal_loss import FocalLoss
from src.models.resnet import CIFARResNet18
from src.models.speednet import SpeedNet
from src.models.test_time_augmentation import TestTimeAugmentation

__all__ = ["CIFARResNet18", "DeepCNN", "FocalLoss", "SimpleCNN", "SpeedNet", "TestTimeAugmentation"]
