"""Augmentations of batches, on their device."""

from src.data.augment.augmentation import Augmentation
from src.data.augment.cutout import Cutout
from src.data.augment.flip import AlternatingFlip, Flip
from src.data.augment.keras import ImageDataGenerator, PreprocessingLayers
from src.data.augment.shift import Shift

__all__ = [
    "AlternatingFlip",
    "Augmentation",
    "Cutout",
    "Flip",
    "ImageDataGenerator",
    "PreprocessingLayers",
    "Shift",
]
