"""Augmentations of batches, on their device."""

from src.data.augment.augmentation import Augmentation
from src.data.augment.color_jitter import ColorJitter
from src.data.augment.cutout import Cutout
from src.data.augment.flip import AlternatingFlip, Flip
from src.data.augment.keras import ImageDataGenerator, PreprocessingLayers
from src.data.augment.mix import CutMix, Mix, Mixup, MixupOrCutMix
from src.data.augment.policies import RandAugment, TrivialAugment
from src.data.augment.random_erasing import RandomErasing
from src.data.augment.random_resized_crop import RandomResizedCrop
from src.data.augment.shift import Shift

__all__ = [
    "AlternatingFlip",
    "Augmentation",
    "ColorJitter",
    "CutMix",
    "Cutout",
    "Flip",
    "ImageDataGenerator",
    "Mix",
    "Mixup",
    "MixupOrCutMix",
    "PreprocessingLayers",
    "RandAugment",
    "RandomErasing",
    "RandomResizedCrop",
    "Shift",
    "TrivialAugment",
]
