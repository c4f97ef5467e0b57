"""Initial weights that are computed from training images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from src.callbacks import DataDependentInit
from src.classifier import Classifier
from tests.toys import Linear, Squares, classifier, trainer


class MeanBias(Linear):
    """Sets its bias to the mean of the images."""

    def init_from_data(self, images_BCHW: Tensor) -> None:
        nn.init.constant_(self.layer.bias, images_BCHW.mean().item())
        self.init_shape = images_BCHW.shape


def model() -> Classifier:
    return classifier(net=MeanBias(), optimizer=lambda params: torch.optim.SGD(params, lr=0.0))


def test_a_network_computes_its_weights_from_normalized_training_images(tmp_path: Path) -> None:
    data, module = Squares(), model()
    trainer(tmp_path).fit(module, datamodule=data, test_after_fit=False)
    images_BCHW = data.image_set("train").images_NHWC[data.train_indices].permute(0, 3, 1, 2).float() / 255
    assert module.net.init_shape == (24, 3, 4, 4)
    torch.testing.assert_close(module.net.layer.bias[0], data.normalize_images(images_BCHW).mean())  # pyright: ignore


def test_num_images_limits_the_images(tmp_path: Path) -> None:
    module = model()
    fitted = trainer(tmp_path, callbacks=DataDependentInit(num_images=5))
    fitted.fit(module, datamodule=Squares(), test_after_fit=False)
    assert module.net.init_shape == (5, 3, 4, 4)


def test_a_resumed_run_keeps_the_weights_of_its_checkpoint(tmp_path: Path) -> None:
    trainer(tmp_path).fit(model(), datamodule=Squares(), test_after_fit=False)
    path, resumed = str(tmp_path / "checkpoints" / "last.ckpt"), model()
    trainer(tmp_path / "b", max_epochs=2).fit(resumed, datamodule=Squares(), ckpt_path=path, test_after_fit=False)
    assert not hasattr(resumed.net, "init_shape")


def test_no_images() -> None:
    with pytest.raises(ValueError, match="num_images 0 must be at least 1"):
        DataDependentInit(num_images=0)
