"""What a run shows and measures in addition to training: one callback per file."""

from src.callbacks.augmentation_preview import AugmentationPreview
from src.callbacks.class_scores import ClassScores
from src.callbacks.confusion_matrix import ConfusionMatrix
from src.callbacks.data_dependent_init import DataDependentInit
from src.callbacks.ema import EMA
from src.callbacks.embedding_projector import EmbeddingProjector
from src.callbacks.epoch_progress_bar import EpochProgressBar
from src.callbacks.first_layer_filters import FirstLayerFilters
from src.callbacks.frozen_backbone import FrozenBackbone
from src.callbacks.hyperparameter_logger import HyperparameterLogger
from src.callbacks.network_summary import NetworkSummary
from src.callbacks.prediction_writer import PredictionWriter
from src.callbacks.reliability_diagram import ReliabilityDiagram
from src.callbacks.report import Report
from src.callbacks.run_text import RunText
from src.callbacks.sample_predictions import SamplePredictions
from src.callbacks.scalar_layout import ScalarLayout
from src.callbacks.shown_samples import ConfidentMistakes, LossExtremes, MistakeMaps
from src.callbacks.text_progress_bar import TextProgressBar
from src.callbacks.training_health import TrainingHealth

__all__ = [
    "EMA",
    "AugmentationPreview",
    "ClassScores",
    "ConfidentMistakes",
    "ConfusionMatrix",
    "DataDependentInit",
    "EmbeddingProjector",
    "EpochProgressBar",
    "FirstLayerFilters",
    "FrozenBackbone",
    "HyperparameterLogger",
    "LossExtremes",
    "MistakeMaps",
    "NetworkSummary",
    "PredictionWriter",
    "ReliabilityDiagram",
    "Report",
    "RunText",
    "SamplePredictions",
    "ScalarLayout",
    "TextProgressBar",
    "TrainingHealth",
]
