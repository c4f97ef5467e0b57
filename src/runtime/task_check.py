"""Whether the loss and the metrics of a user take what they get.

Shapes: B images, K classes.
"""

from __future__ import annotations

import copy
import warnings

import torch
from torch import Tensor
from torchmetrics import Metric

from src.classifier import Classifier
from src.errors import UserError


def check_task(model: Classifier) -> None:
    """Computes the loss and the metrics of a user for logits of two images per class (of fewer where there are many
    classes), by copies of them.

    Raises:
        UserError: if the loss does not take logits and labels, or a metric does not return one number for
            probabilities and labels, which Lightning reports after the first epoch.
    """
    k = model.num_classes
    b = min(2 * k, 256)
    logits_BK = torch.linspace(0, 9, b * k, device=model.device).sin().view(b, k)
    labels_B = torch.arange(b, device=model.device) % k
    if model.multi_label:
        labels_B = torch.nn.functional.one_hot(labels_B, k)
    probabilities_BK = model.task.probabilities(logits_BK)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of so few images
        if model.loss:
            _check_loss(model, logits_BK.clone().requires_grad_(), labels_B)
        for name, metric in model.val_metrics.items(keep_base=True):
            if name in model.own_metrics:
                _check_metric(name, metric, probabilities_BK, labels_B)


def _check_loss(model: Classifier, logits_BK: Tensor, labels_B: Tensor) -> None:
    try:
        model.task.losses(logits_BK, labels_B, copy.deepcopy(model.loss), model.label_smoothing, None)
    except (RuntimeError, TypeError, ValueError, IndexError, AssertionError) as error:
        name = getattr(model.loss, "__name__", type(model.loss).__name__)
        labels = "targets of the same shape" if model.multi_label else f"labels {tuple(labels_B.shape)}"
        raise UserError(
            f"model.loss ({name}) does not take logits {tuple(logits_BK.shape)} and {labels}: {error}. Choose another "
            "loss, or write a function of logits and labels that returns one loss per image"
        ) from error


def _check_metric(name: str, metric: Metric, probabilities_BK: Tensor, labels_B: Tensor) -> None:
    trial = metric.clone()
    trial.sync_on_compute = False
    trial.reset()
    kind = f"model.metrics {name} ({type(metric).__name__})"
    try:
        trial.update(probabilities_BK, labels_B)
        value = trial.compute()
    except Exception as error:
        raise UserError(
            f"{kind} does not take probabilities {tuple(probabilities_BK.shape)} and labels {tuple(labels_B.shape)}: "
            f"{error}. Choose another metric, or remove it"
        ) from error
    shape = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
    if not isinstance(value, Tensor | int | float) or torch.as_tensor(value).numel() != 1:
        raise UserError(f"{kind} returns {shape}, and only one number can be logged; average it, or remove it")
