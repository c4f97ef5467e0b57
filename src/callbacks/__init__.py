"""What a run shows and measures in addition to training: one callback per file."""

from src.callbacks.augmentation_preview import AugmentationPreview
from src.callbacks.confusion_matrix import ConfusionMatrix
from src.callbacks.data_dependent_init import DataDependentInit
from src.callbacks.ema import EMA
from src.callbacks.epoch_progress_bar import EpochProgressBar
from src.callbacks.hyperparameter_logger import HyperparameterLogger
from src.callbacks.network_summary import NetworkSummary
from src.callbacks.prediction_writer import PredictionWriter
from src.callbacks.text_progress_bar import TextProgressBar

__all__ = [
    "EMA",
    "AugmentationPreview",
    "ConfusionMatrix",
    "DataDependentInit",
    "EpochProgressBar",
    "HyperparameterLogger",
    "NetworkSummary",
    "PredictionWriter",
    "TextProgressBar",
]
