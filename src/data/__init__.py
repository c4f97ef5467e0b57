"""Data sets as LightningDataModules."""

from src.data.base import Batch, ImageData, Pictures
from src.data.cifar10 import CIFAR10
from src.data.folder import ImageFolder
from src.data.shapes import Shapes

__all__ = ["CIFAR10", "Batch", "ImageData", "ImageFolder", "Pictures", "Shapes"]
