"""First weights that come from the data."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from tests.toys import Linear, Squares, classifier, trainer


class FromData(Linear):
    """Takes its bias from the pictures that it is shown."""

    def init_from_data(self, images_BCHW: Tensor) -> None:
        nn.init.constant_(self.layer.bias, images_BCHW.mean().item())
        self.shown = images_BCHW.shape


def test_a_network_may_take_its_first_weights_from_normalised_training_pictures(tmp_path: Path) -> None:
    data = Squares()
    net = FromData()
    model = classifier(optimizer=lambda params: torch.optim.SGD(params, lr=0.0))
    model.net = net
    trainer(tmp_path).fit(model, datamodule=data, test_after_fit=False)
    images_BCHW = data.image_set("train").images_NHWC[data.train_indices].permute(0, 3, 1, 2).float() / 255
    assert net.shown == (24, 3, 4, 4)
    torch.testing.assert_close(net.layer.bias[0], data.normalized(images_BCHW).mean())


def test_on_a_resume_the_checkpoints_weights_stay(tmp_path: Path) -> None:
    model = classifier(optimizer=lambda params: torch.optim.SGD(params, lr=0.0))
    model.net = FromData()
    trainer(tmp_path).fit(model, datamodule=Squares(), test_after_fit=False)
    again = classifier(optimizer=lambda params: torch.optim.SGD(params, lr=0.0))
    again.net = FromData()
    path = str(tmp_path / "checkpoints" / "last.ckpt")
    trainer(tmp_path / "b", max_epochs=2).fit(again, datamodule=Squares(), ckpt_path=path, test_after_fit=False)
    assert not hasattr(again.net, "shown")
