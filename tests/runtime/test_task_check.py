"""The check of the loss and the metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn
from torchmetrics.classification import (
    MulticlassAUROC,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassROC,
    MultilabelF1Score,
)

from src.errors import UserError
from src.runtime.task_check import check_task
from tests.toys import Squares, classifier, trainer


class CountingLoss(nn.Module):
    """Keeps how often it was called."""

    calls = 0

    def forward(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        self.calls += 1
        return logits_BK.logsumexp(1) - logits_BK.gather(1, labels_B[:, None])[:, 0]


def test_what_fits_passes_and_keeps_its_state() -> None:
    loss = CountingLoss()
    model = classifier(loss=loss, metrics={"auroc": MulticlassAUROC, "f1_macro": MulticlassF1Score})
    check_task(model)
    assert loss.calls == 0
    assert model.val_metrics["auroc"].update_count == 0


def test_several_classes_per_image() -> None:
    check_task(classifier(multi_label=True, loss=nn.BCEWithLogitsLoss(), metrics={"own": MultilabelF1Score}))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"loss": nn.MSELoss()}, r"model.loss \(MSELoss\) does not take logits \(6, 3\) and labels \(6,\): The size"),
        ({"loss": nn.GaussianNLLLoss()}, r"model.loss \(GaussianNLLLoss\) does not take"),
        ({"loss": lambda logits, labels: logits.sum()}, r"model.loss returns \(\) for \(6, 3\) logits"),
        (
            {"metrics": {"mine": MulticlassConfusionMatrix}},
            r"model.metrics mine \(MulticlassConfusionMatrix\) returns a tensor of shape \(3, 3\), and only one number",
        ),
        ({"metrics": {"mine": lambda k: MulticlassF1Score(k, average="none")}}, r"returns a tensor of shape \(3,\)"),
        ({"metrics": {"mine": MulticlassROC}}, r"model.metrics mine \(MulticlassROC\) returns a tuple"),
        ({"metrics": {"mine": MultilabelF1Score}}, r"model.metrics mine \(MultilabelF1Score\) does not take prob"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_first_step(
    arguments: dict[str, Any], words: str, tmp_path: Path
) -> None:
    model = classifier(**arguments)
    with pytest.raises(UserError, match=words):
        trainer(tmp_path / "run").fit(model, datamodule=Squares())
    assert model.global_step == 0
