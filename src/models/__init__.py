"""Networks: each a `torch.nn.Module` that maps images (B, C, H, W) to logits (B, K)."""

from src.models.cnn import DeepCNN, SimpleCNN
from src.models.resnet import CIFARResNet18
from src.models.speednet import SpeedNet
from src.models.test_time_augmentation import TestTimeAugmentation

__all__ = ["CIFARResNet18", "DeepCNN", "SimpleCNN", "SpeedNet", "TestTimeAugmentation"]
