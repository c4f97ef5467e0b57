"""The callbacks that every run has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

from lightning import Callback
from lightning.pytorch.callbacks import LearningRateMonitor

from src.callbacks.augmentation_preview import AugmentationPreview
from src.callbacks.class_scores import ClassScores
from src.callbacks.confusion_matrix import ConfusionMatrix
from src.callbacks.data_dependent_init import DataDependentInit
from src.callbacks.embedding_projector import EmbeddingProjector
from src.callbacks.first_layer_filters import FirstLayerFilters
from src.callbacks.hyperparameter_logger import HyperparameterLogger
from src.callbacks.network_summary import NetworkSummary
from src.callbacks.prediction_writer import PredictionWriter
from src.callbacks.reliability_diagram import ReliabilityDiagram
from src.callbacks.report import Report
from src.callbacks.run_text import RunText
from src.callbacks.scalar_layout import ScalarLayout
from src.callbacks.shown_samples import ConfidentMistakes, LossExtremes, MistakeMaps
from src.callbacks.text_progress_bar import TextProgressBar
from src.callbacks.training_health import TrainingHealth
from src.runtime.batch_norm_sync import BatchNormSync
from src.runtime.dead_ranks import DeadRankDetector
from src.runtime.finite_loss import FiniteLoss
from src.runtime.manifest import RunManifest
from src.runtime.optimizer_modes import OptimizerModes
from src.runtime.preflight import PreflightCheck
from src.runtime.results import RunResults
from src.runtime.resume_state import ResumeState
from src.runtime.run_checkpoints import RunCheckpoints
from src.runtime.step_seed import StepSeed
from src.runtime.stop_on_signal import StopOnSignal


@dataclass
class DefaultCallbacks:
    """What runs in addition to training, in the order in which it is called. null removes an optional callback,
    another class path replaces it, and `trainer.callbacks` adds others."""

    preflight: PreflightCheck | None = field(default_factory=PreflightCheck)
    data_dependent_init: Callback | None = field(default_factory=DataDependentInit)
    preview: Callback | None = field(default_factory=AugmentationPreview)
    model_summary: Callback | None = field(default_factory=NetworkSummary)
    progress: Callback | None = field(default_factory=TextProgressBar)
    learning_rate: Callback | None = field(default_factory=partial(LearningRateMonitor, logging_interval="step"))
    scalar_layout: Callback | None = field(default_factory=ScalarLayout)
    training_health: Callback | None = field(default_factory=TrainingHealth)
    filters: Callback | None = field(default_factory=FirstLayerFilters)
    projector: Callback | None = field(default_factory=EmbeddingProjector)
    confusion_matrix: Callback | None = field(default_factory=ConfusionMatrix)
    reliability: Callback | None = field(default_factory=ReliabilityDiagram)
    class_scores: Callback | None = field(default_factory=ClassScores)
    mistakes: Callback | None = field(default_factory=ConfidentMistakes)
    mistake_maps: Callback | None = field(default_factory=MistakeMaps)
    loss_extremes: Callback | None = field(default_factory=LossExtremes)
    predictions: Callback | None = field(default_factory=PredictionWriter)
    finite_loss: FiniteLoss | None = field(default_factory=FiniteLoss)
    dead_ranks: DeadRankDetector | None = field(default_factory=DeadRankDetector)
    batch_norm_sync: BatchNormSync | None = field(default_factory=BatchNormSync)
    step_seed: StepSeed = field(default_factory=StepSeed)
    optimizer_modes: OptimizerModes = field(default_factory=OptimizerModes)
    resume_state: ResumeState = field(default_factory=ResumeState)
    manifest: RunManifest | None = field(default_factory=RunManifest)
    results: RunResults | None = field(default_factory=RunResults)
    # After the manifest and the results, which these three show; the text shows the report, too.
    hyperparameters: Callback | None = field(default_factory=HyperparameterLogger)
    report: Callback | None = field(default_factory=Report)
    text: Callback | None = field(default_factory=RunText)
    # After the results, which are written before a stop at the end of training.
    stop_on_signal: StopOnSignal | None = field(default_factory=StopOnSignal)
    checkpoints: RunCheckpoints = field(default_factory=RunCheckpoints)

    def present(self) -> list[Callback]:
        """Those that are not None, in their order."""
        callbacks = (getattr(self, one.name) for one in fields(self))
        return [callback for callback in callbacks if callback is not None]

    def besides(self, given: Sequence[Callback], without: tuple[type[Callback], ...]) -> list[Callback]:
        """Those that are present, but none of a class in `without`, and none that one in `given` takes the place of."""
        return [
            one
            for one in self.present()
            if not isinstance(one, without) and not any(isinstance(own, type(one)) for own in given)
        ]

    @classmethod
    def as_config(cls) -> dict[str, Any]:
        """The class path and the arguments of each, for the defaults of a parser."""
        return {one.name: _as_config(one.default_factory) for one in fields(cls)}


def _as_config(factory: Any) -> dict[str, Any]:
    class_ = getattr(factory, "func", factory)
    return {
        "class_path": f"{class_.__module__}.{class_.__qualname__}",
        "init_args": dict(getattr(factory, "keywords", {})),
    }
