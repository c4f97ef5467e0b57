"""TensorBoard's page PROJECTOR."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from src.callbacks import EmbeddingProjector
from src.callbacks.embedding_projector import last_features
from src.models.dropout import Dropout
from tests.toys import Linear, Squares, classifier, trainer


def fit(directory: Path, **data: Any) -> None:
    callback = EmbeddingProjector(num_images=4)
    fitted = trainer(directory, logger=True, callbacks=callback)
    fitted.fit(classifier(), datamodule=Squares(**data), test_after_fit=False)


def test_validation_images_with_their_classes(tmp_path: Path) -> None:
    fit(tmp_path)
    folder = tmp_path / "00004" / "validation"
    assert np.loadtxt(folder / "tensors.tsv").shape == (4, 48)  # the network's linear layer takes the pixels
    names = (folder / "metadata.tsv").read_text().split()
    with Image.open(folder / "sprite.png") as file:
        sprite_HWC = np.asarray(file)
    assert sprite_HWC.shape == (64, 64, 3)
    thumbnails = [sprite_HWC[y : y + 32, x : x + 32] for y in (0, 32) for x in (0, 32)]
    brightest = [["red", "green", "blue"][image.mean((0, 1)).argmax()] for image in thumbnails]
    assert brightest == names


def test_without_validation_there_is_no_page(tmp_path: Path) -> None:
    fit(tmp_path, val_fraction=0)
    assert not (tmp_path / "projector_config.pbtxt").exists()
    events = EventAccumulator(str(tmp_path)).Reload()
    (text,) = events.Tensors("run/projector/text_summary")
    assert text.tensor_proto.string_val == [b"No embeddings: there are no validation images."]


def test_features_are_the_input_of_the_last_linear_layer_in_evaluation_mode() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.ReLU(), Dropout(0.5), nn.Linear(5, 3))
    images_BCHW = torch.randn(300, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    features_BD = last_features(net, images_BCHW)
    assert features_BD is not None
    torch.testing.assert_close(features_BD, net[1](images_BCHW.flatten(1)).relu())
    assert all(module.training for module in net.modules())
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_a_network_without_a_linear_layer_has_none() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 4), nn.Flatten())
    assert last_features(net, torch.zeros(2, 3, 4, 4)) is None
    assert last_features(Linear(), torch.zeros(2, 3, 4, 4)) is not None


def test_no_images() -> None:
    with pytest.raises(ValueError, match="num_images 0 must be at least 1"):
        EmbeddingProjector(num_images=0)
