"""Networks: plain `torch.nn.Module`s from pictures (B, C, H, W) to logits (B, K). They import torch only."""

from src.nets.cnn import DeepCNN, SimpleCNN

__all__ = ["DeepCNN", "SimpleCNN"]
