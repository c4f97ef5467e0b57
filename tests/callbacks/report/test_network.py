"""The network on further images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule

from src.callbacks.report.network import NetworkOnImages
from src.callbacks.test_samples import TestSamples, TestSamplesCallback
from tests.toys import Squares, classifier, trainer


class Run(TestSamplesCallback):
    """Runs the network on the test images again."""

    def on_test_samples(self, trainer: Any, pl_module: LightningModule, samples: TestSamples) -> None:
        network = NetworkOnImages(trainer, pl_module, trainer.datamodule)
        self.samples, indices_N = samples, samples.indices_N
        self.again_NK = network.logits("test", indices_N)
        self.black_NK = network.logits("test", indices_N, lambda images_BCHW, indices_B: images_BCHW * 0)
        self.cost = network.cost(indices_N)


def test_logits_are_those_of_the_test_and_costs_are_counted(tmp_path: Path) -> None:
    run, model = Run(), classifier()
    trainer(tmp_path, callbacks=[run]).test(model, datamodule=Squares())
    torch.testing.assert_close(run.again_NK, run.samples.logits_NK)
    assert run.black_NK.unique(dim=0).shape == (1, 3)
    assert run.cost.multiply_adds == 48 * 3
    assert run.cost.batch_size == 30 and run.cost.images_per_second > 0
