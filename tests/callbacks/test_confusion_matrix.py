"""The confusion matrix of a test."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer
from PIL import Image

from src.callbacks import ConfusionMatrix
from src.callbacks.confusion_matrix import plot, plot_of_each
from tests.toys import Attributes, Squares, classifier, trainer


def test_a_test_writes_an_image_and_the_counts(tmp_path: Path) -> None:
    trainer(tmp_path).test(classifier(), datamodule=Squares())
    content = json.loads((tmp_path / "confusion_matrix.json").read_text())
    assert content["classes"] == ["red", "green", "blue"]
    assert [sum(row) for row in content["counts"]] == [10, 10, 10]
    with Image.open(tmp_path / "confusion_matrix.png") as image:
        assert min(image.size) > 200


def test_colors_are_fractions_of_the_true_class_and_texts_are_counts() -> None:
    axes = plot(torch.tensor([[90, 10], [0, 5]]), ["a", "b"]).axes[0]
    np.testing.assert_allclose(np.asarray(axes.images[0].get_array()), [[0.9, 0.1], [0.0, 1.0]], rtol=1e-6)
    assert [text.get_text() for text in axes.texts] == ["90", "10", "0", "5"]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("true class", "predicted class")


def test_each_of_several_classes_has_its_own_counts(tmp_path: Path) -> None:
    trainer(tmp_path).test(classifier(multi_label=True), datamodule=(data := Attributes()))
    content = json.loads((tmp_path / "confusion_matrix.json").read_text())
    labels_NK = data.image_set("test").labels_N
    assert [sum(without) for without, _ in content["counts"]] == (1 - labels_NK).sum(0).tolist()
    assert [sum(with_it) for _, with_it in content["counts"]] == labels_NK.sum(0).tolist()
    assert (tmp_path / "confusion_matrix.png").is_file()
    axes = plot_of_each(torch.tensor([[[90, 10], [1, 3]], [[5, 0], [0, 0]]]), ["a", "b"]).axes[0]
    np.testing.assert_allclose(
        np.asarray(axes.images[0].get_array()), [[0.9, 0.1, 0.25, 0.75], [1, 0, 0, 0]], rtol=1e-6
    )
    assert [text.get_text() for text in axes.texts] == ["90", "10", "1", "3", "5", "0", "0", "0"]


@pytest.mark.parametrize("num_classes", [2, 10, 30])
def test_no_label_is_cut_off_or_overlaps_another(num_classes: int) -> None:
    figure = plot(torch.eye(num_classes, dtype=torch.int64), [f"a long class name {k}" for k in range(num_classes)])
    figure.canvas.draw()
    axes = figure.axes[0]
    saved = figure.get_tightbbox()
    for labels, side in ((axes.get_xticklabels(), 0), (axes.get_yticklabels(), 1)):
        boxes = [label.get_window_extent() for label in labels]
        starts_ends = sorted((box.min[side], box.max[side]) for box in boxes)
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(starts_ends))
        assert all((np.array(box.min) / figure.dpi >= saved.min).all() for box in boxes)


def test_more_classes_than_max_classes_write_counts_alone(tmp_path: Path) -> None:
    trainer(tmp_path, callbacks=ConfusionMatrix(max_classes=2)).test(classifier(), datamodule=Squares())
    assert (tmp_path / "confusion_matrix.json").is_file()
    assert not (tmp_path / "confusion_matrix.png").exists()


def test_an_image_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "confusion_matrix.png").mkdir()
    with pytest.warns(UserWarning, match=r"the confusion matrix is left out: .*IsADirectoryError"):
        trainer(tmp_path).test(classifier(), datamodule=Squares())


def test_a_module_without_a_confusion_matrix_is_left_alone(tmp_path: Path) -> None:
    fitted = Trainer(default_root_dir=tmp_path, accelerator="cpu", logger=False)
    ConfusionMatrix().on_test_epoch_end(fitted, LightningModule())
    assert list(tmp_path.iterdir()) == []
