"""The samples of a test. tests/runtime/test_world_size.py gathers them from several ranks."""

from __future__ import annotations

from pathlib import Path

import lightning
import pytest
import torch
import torch.nn.functional as F
from lightning import LightningModule
from torch import Tensor

from src.callbacks import test_samples
from src.callbacks.test_samples import TestSamples, TestSamplesCallback
from src.classifier import Classifier
from src.data.batch import Batch
from tests.toys import Linear, Squares, classifier, trainer


class Keep(TestSamplesCallback):
    """Keeps what it is called with."""

    def __init__(self) -> None:
        self.seen: list[TestSamples] = []
        self.training: list[bool] = []

    def on_test_samples(self, trainer: lightning.Trainer, pl_module: LightningModule, samples: TestSamples) -> None:
        self.seen.append(samples)
        self.training.append(pl_module.training)


def test_each_sample_once_in_the_order_of_the_dataset(tmp_path: Path) -> None:
    keep, data, model = Keep(), Squares(size=20), classifier()
    trainer(tmp_path, callbacks=[keep]).test(model, datamodule=data)
    (samples,) = keep.seen
    assert samples.indices_N.tolist() == list(range(20))
    assert samples.labels_N.tolist() == data.image_set("test").labels_N.tolist()
    assert samples.logits_NK.shape == (20, 3) and samples.logits_NK.dtype == torch.float32
    torch.testing.assert_close(samples.losses_N, F.cross_entropy(samples.logits_NK, samples.labels_N, reduction="none"))
    assert keep.training == [False]


def test_all_callbacks_get_the_samples_gathered_once_in_each_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    gather = test_samples.gather
    monkeypatch.setattr(test_samples, "gather", lambda *args: calls.append(args) or gather(*args))
    first, second = Keep(), Keep()
    tested = trainer(tmp_path, callbacks=[first, second])
    for number in (1, 2):
        tested.test(classifier(), datamodule=Squares())
        assert len(first.seen) == len(second.seen) == len(calls) == number
        assert first.seen[-1] is second.seen[-1]
        assert len(first.seen[-1].indices_N) == 30


def test_only_the_tested_batches_of_limit_test_batches(tmp_path: Path) -> None:
    keep = Keep()
    trainer(tmp_path, callbacks=[keep], limit_test_batches=2).test(classifier(), datamodule=Squares())
    assert keep.seen[0].indices_N.tolist() == list(range(12))


class LossAlone(Classifier):
    """Returns the loss, as most modules do."""

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().test_step(batch, batch_idx)["losses"].mean()


def test_a_module_with_other_outputs_is_left_alone(tmp_path: Path) -> None:
    keep = Keep()
    trainer(tmp_path, callbacks=[keep]).test(LossAlone(Linear(), num_classes=3), datamodule=Squares())
    assert keep.seen == []
