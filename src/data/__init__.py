"""Data sets as LightningDataModules."""

from src.data.base import Batch, ImageData, Pictures
from src.data.cifar10 import CIFAR10

__all__ = ["CIFAR10", "Batch", "ImageData", "Pictures"]
