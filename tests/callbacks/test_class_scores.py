"""Precision and recall of each class in a test."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning import Trainer

from src.callbacks import ClassScores
from src.callbacks.class_scores import plot, precision_recall, write_scores
from src.callbacks.test_samples import TestSamples


def test_precision_and_recall_by_hand() -> None:
    # Class 2 is never predicted, class 3 has no samples.
    precision_K, recall_K = precision_recall(torch.tensor([0, 0, 1, 3]), torch.tensor([0, 1, 1, 2]), num_classes=4)
    assert precision_K.tolist() == pytest.approx([0.5, 1, float("nan"), 0], nan_ok=True)
    assert recall_K.tolist() == pytest.approx([1, 0.5, 0, float("nan")], nan_ok=True)


def test_precision_and_recall_of_images_with_several_classes_by_hand() -> None:
    predicted_NK = torch.tensor([[True, False, False], [True, True, False]])
    precision_K, recall_K = precision_recall(predicted_NK, torch.tensor([[1, 1, 1], [0, 1, 0]]), num_classes=3)
    assert precision_K.tolist() == pytest.approx([0.5, 1, float("nan")], nan_ok=True)
    assert recall_K.tolist() == [1, 0.5, 0]


def test_scores_of_several_classes_are_written(tmp_path: Path) -> None:
    # By the probabilities, class a is found in the first and third place of three, b in the first, c never.
    labels_NK = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 0, 0]])
    logits_NK = torch.tensor([[2.0, -1.0, -3.0], [1.0, 3.0, -3.0], [-2.0, -2.0, -3.0]])
    samples = TestSamples(torch.arange(3), labels_NK, logits_NK, torch.zeros(3), threshold=0.6)
    write_scores(tmp_path / "classes.csv", Trainer(logger=False, accelerator="cpu"), samples)
    assert (tmp_path / "classes.csv").read_text().splitlines() == [
        "class,images,precision,recall,f1,average_precision,threshold",
        "0,2,0.5000,0.5000,0.5000,0.8333,0.6000",
        "1,1,1.0000,1.0000,1.0000,1.0000,0.6000",
        "2,0,,,,,0.6000",
    ]


def test_scores_of_classes_are_written(tmp_path: Path) -> None:
    logits_NK = torch.eye(3)[[0, 0, 1]]
    samples = TestSamples(torch.arange(3), torch.tensor([0, 1, 1]), logits_NK, torch.zeros(3))
    write_scores(tmp_path / "classes.csv", Trainer(logger=False, accelerator="cpu"), samples)
    assert (tmp_path / "classes.csv").read_text().splitlines() == [
        "class,images,precision,recall,f1",
        "0,1,0.5000,1.0000,0.6667",
        "1,2,1.0000,0.5000,0.6667",
        "2,0,,,",
    ]


def test_the_lowest_class_is_first_and_what_is_missing_is_named() -> None:
    precision_K, recall_K = torch.tensor([0.5, 1, float("nan"), 0]), torch.tensor([1, 0.5, 0, float("nan")])
    (axes,) = plot(precision_K, recall_K, ["a", "b", "c", "d"], max_classes=4).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["c", "a", "b", "d"]
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["never predicted", "0.00", "0.50", "1.00", "1.00", "0.50", "0.00", "no samples"]


def test_of_many_classes_the_lowest_are_shown() -> None:
    scores_K = torch.linspace(0, 1, 1000)
    figure = plot(scores_K, scores_K, [str(number) for number in range(1000)], max_classes=3)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "1", "2"]
    assert "the 3 lowest of 1000 classes" in axes.get_title()


def test_no_classes() -> None:
    with pytest.raises(ValueError, match="max_classes 0 must be at least 1"):
        ClassScores(max_classes=0)
