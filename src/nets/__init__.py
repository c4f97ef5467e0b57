"""Networks: plain `torch.nn.Module`s from pictures (B, C, H, W) to logits (B, K). They import torch only."""

from src.nets.cnn import DeepCNN, SimpleCNN
from src.nets.resnet import CIFARResNet18
from src.nets.speed import SpeedNet
from src.nets.views import Views

__all__ = ["CIFARResNet18", "DeepCNN", "SimpleCNN", "SpeedNet", "Views"]
