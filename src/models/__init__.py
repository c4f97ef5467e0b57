"""Networks: plain `torch.nn.Module`s from pictures (B, C, H, W) to logits (B, K). They import torch only."""

from src.models.cnn import DeepCNN, SimpleCNN
from src.models.resnet import CIFARResNet18
from src.models.speednet import SpeedNet
from src.models.test_time_augmentation import TestTimeAugmentation

__all__ = ["CIFARResNet18", "DeepCNN", "SimpleCNN", "SpeedNet", "TestTimeAugmentation"]
