"""Datasets as LightningDataModules."""

from src.data.batch import Batch, ImageSet
from src.data.cifar10 import CIFAR10
from src.data.datamodule import ImageDataModule
from src.data.image_folder import ImageFolder
from src.data.shapes import Shapes
from src.data.torch_dataset import TorchDataset

__all__ = ["CIFAR10", "Batch", "ImageDataModule", "ImageFolder", "ImageSet", "Shapes", "TorchDataset"]
