"""How far the probabilities of a test can be trusted.

Shapes: N samples, M bins, K classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from src.callbacks.display_only import display_only
from src.callbacks.log_image import image_loggers, log_image, new_figure
from src.callbacks.test_samples import TestSamples, TestSamplesCallback

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ReliabilityDiagram(TestSamplesCallback):
    """Shows, after a test, the accuracy of the samples in bins of their confidence, the largest probability (Guo et al.
    2017, arXiv 1706.04599): bars below the diagonal are overconfident. Where an image can have several classes, each of
    them counts with its own probability, and a bar is the fraction of images that have it."""

    def __init__(self, bins: int = 15) -> None:
        """
        Args:
            bins: of equal width, as those of test/calibration_error.

        Raises:
            ValueError: if the number is out of range.
        """
        if bins < 1:
            raise ValueError(f"bins {bins} must be at least 1")
        self.bins = bins

    def on_test_samples(self, trainer: Trainer, pl_module: LightningModule, samples: TestSamples) -> None:
        if image_loggers(trainer):
            with display_only("the reliability diagram"):
                bins = reliability(samples.probabilities_NK, samples.labels_N, self.bins)
                log_image(trainer, "view_test/reliability", plot(bins, samples.multi_label))


class Bins(NamedTuple):
    """Samples by their confidence."""

    counts_M: Tensor
    accuracy_M: Tensor  # NaN in an empty bin
    error: float  # the expected calibration error


def reliability(probabilities_NK: Tensor, labels_N: Tensor, bins: int) -> Bins:
    """Count and accuracy of the samples in bins of equal width of their confidence; of labels (N, K) those of all
    pairs of a sample and a class."""
    if labels_N.dim() == 2:
        confidence_N, correct_N = probabilities_NK.double().flatten(), labels_N.double().flatten()
    else:
        confidence_N, predicted_N = probabilities_NK.double().max(-1)
        correct_N = (predicted_N == labels_N).double()
    bin_N = (confidence_N * bins).long().clamp(max=bins - 1)
    counts_M, correct_M, confidence_M = (
        torch.zeros(bins, dtype=torch.float64).index_add(0, bin_N, values_N)
        for values_N in (torch.ones_like(confidence_N), correct_N, confidence_N)
    )
    error = float((correct_M - confidence_M).abs().sum() / counts_M.sum())
    return Bins(counts_M.long(), correct_M / counts_M, error)


def plot(bins: Bins, multi_label: bool = False) -> Figure:
    """Accuracy by confidence above, the number of samples below; or the fraction of images with a class by its
    probability, and the number of pairs of an image and a class."""
    figure, width = new_figure(380), 1 / len(bins.counts_M)
    centers = [(number + 0.5) * width for number in range(len(bins.counts_M))]
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    top.bar(centers, bins.accuracy_M.nan_to_num().tolist(), width * 0.92, color="tab:blue")
    top.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1)
    top.set_title(f"Reliability (expected calibration error {bins.error:.3f})", fontsize=8)
    top.set_ylabel("images that have the class" if multi_label else "accuracy", fontsize=8)
    top.set(xlim=(0, 1), ylim=(0, 1))
    bottom.bar(centers, bins.counts_M.tolist(), width * 0.92, color="tab:gray")
    bottom.set_ylabel("images x classes" if multi_label else "images", fontsize=8)
    bottom.set_xlabel("probability" if multi_label else "confidence", fontsize=8)
    for axes in (top, bottom):
        axes.tick_params(labelsize=7)
    return figure
