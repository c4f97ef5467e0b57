"""Images that can have several classes: training, test, and the threshold that is chosen on validation."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import multilabel_average_precision, multilabel_f1_score

from src.classifier import Classifier
from src.data import Batch, ImageDataModule
from src.errors import UserError
from src.runtime.checkpoint_file import read
from tests.toys import Attributes, Squares, classifier, fit


def several(**kwargs: Any) -> Classifier:
    return classifier(multi_label=True, **kwargs)


TARGETS_BK = torch.tensor([[1, 0, 1], [0, 0, 1]])


def test_a_mixture_has_the_loss_of_mixed_targets() -> None:
    weights_B = torch.tensor([0.3, 0.9])
    images_BCHW = torch.randn(2, 3, 4, 4)
    batch = Batch(images_BCHW, TARGETS_BK, torch.arange(2), 2, TARGETS_BK.flip(0), weights_B)
    model = several()
    losses_B, logits_BK = model._losses(batch)
    mixed_BK = torch.lerp(TARGETS_BK.flip(0).float(), TARGETS_BK.float(), weights_B[:, None])
    torch.testing.assert_close(losses_B.mean(), F.binary_cross_entropy_with_logits(logits_BK, mixed_BK))
    model._update(model.train_metrics, batch, losses_B.detach(), logits_BK.detach())
    average_precision: Any = model.train_metrics["map"]
    assert torch.cat(average_precision.target).tolist() == [[0, 0, 1], [0, 0, 1]]  # of the larger weights


def test_balanced_weights_are_the_images_without_a_class_by_those_with_it(tmp_path: Path) -> None:
    model, data = several(class_weights="balanced"), Attributes()
    fit(tmp_path, model, data)
    with_it_K = data.image_set("train").labels_N[data.train_indices].sum(0)
    torch.testing.assert_close(model.class_weights_K, (24 - with_it_K) / with_it_K)


def test_a_threshold_is_chosen_on_validation_and_saved(tmp_path: Path) -> None:
    """Each network's own: the test and the predictions use that of best.ckpt."""
    model, data = several(), Attributes(size=60, batch_size=12)
    fitted = fit(tmp_path, model, data, test=True, max_epochs=3)
    checkpoint = read(tmp_path / "checkpoints/best.ckpt")
    threshold = checkpoint["spec"]["threshold"]
    best = json.loads((tmp_path / "results.json").read_text())["fit"]["best"]
    assert checkpoint["spec"]["multi_label"] and threshold == model.threshold == best["val/threshold"] != 0.5
    (validated,) = fitted.validate(model, data, verbose=False)
    assert validated["val/map"] == pytest.approx(best["val/map"], abs=1e-6)
    assert model.threshold == threshold
    probabilities_NK = model.probabilities(torch.cat(logits_of(model, data, "train", data.val_indices)))
    targets_NK = data.image_set("train").labels_N[data.val_indices]
    f1_T = [float(multilabel_f1_score((probabilities_NK >= t / 100).int(), targets_NK, 3)) for t in range(1, 100)]
    assert max(f1_T) == pytest.approx(f1_T[round(100 * threshold) - 1]) == pytest.approx(validated["val/f1"])
    assert best["val/f1"] == pytest.approx(max(f1_T), abs=1e-6)

    test = json.loads((tmp_path / "results.json").read_text())["test"]
    probabilities_NK = model.probabilities(torch.cat(logits_of(model, data, "test", torch.arange(60))))
    targets_NK = data.image_set("test").labels_N
    predicted_NK = (probabilities_NK >= threshold).int()
    assert test["test/f1"] == pytest.approx(float(multilabel_f1_score(predicted_NK, targets_NK, 3)), abs=1e-6)
    assert test["test/map"] == pytest.approx(
        float(multilabel_average_precision(probabilities_NK, targets_NK, 3)), abs=1e-6
    )
    assert test["test/threshold"] == pytest.approx(threshold)
    fitted.predict(model, data)
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = [[name for name, has in zip(data.classes, row, strict=True) if has] for row in predicted_NK.tolist()]
    assert [row["predicted"] for row in rows] == [";".join(row) for row in names]
    assert [float(row["p(green)"]) for row in rows] == pytest.approx(probabilities_NK[:, 1].tolist(), abs=1e-6)


def logits_of(model: Classifier, data: ImageDataModule, subset: Any, indices_N: Tensor) -> list[Tensor]:
    images_NHWC = data.image_set(subset).images_NHWC[indices_N]
    with torch.no_grad():
        return [model(data.normalize_images(images_NHWC.permute(0, 3, 1, 2).float() / 255))]


def test_a_model_and_data_of_different_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="multi_label of the model is False and of the data True"):
        fit(tmp_path, classifier(), Attributes())
    with pytest.raises(UserError, match=r"data\.balanced is for one class per image"):
        fit(tmp_path, several(), Attributes(balanced=True))
    data = Attributes()
    data.setup("test")
    spec = data.spec
    other = Squares()
    other.setup("test")
    with pytest.raises(UserError, match="the data have one class for each image; the model was trained on any number"):
        other.use_spec(spec)


def test_data_with_fewer_classes_are_labeled_by_those_of_the_model() -> None:
    data, fewer = Attributes(), Attributes()
    data.setup("test")
    spec = replace(data.spec, classes=("blue", "gray", "red", "green"))
    fewer.use_spec(spec)
    fewer.setup("test")
    assert torch.equal(fewer.image_set("test").labels_N[:, [2, 3, 0]], data.image_set("test").labels_N)
    assert fewer.image_set("test").labels_N[:, 1].sum() == 0
