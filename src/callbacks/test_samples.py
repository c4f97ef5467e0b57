"""The base class of callbacks that show the samples of a test.

Shapes: N samples, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from src.callbacks.gathered_outputs import gather


class TestSamples(NamedTuple):
    """The samples of a test on the CPU, each once, in the order of the dataset."""

    indices_N: Tensor  # int64, within the test set
    labels_N: Tensor  # int64; (N, K) of 0 and 1 where an image can have several classes
    logits_NK: Tensor  # float32
    losses_N: Tensor  # float32
    threshold: float = 0.5  # from which an image has a class, if it can have several

    @property
    def multi_label(self) -> bool:
        """Whether an image can have several classes."""
        return self.labels_N.dim() == 2

    @property
    def probabilities_NK(self) -> Tensor:
        """Of the classes."""
        return self.logits_NK.sigmoid() if self.multi_label else self.logits_NK.softmax(-1)

    @property
    def predicted_N(self) -> Tensor:
        """The most probable classes (N,), or whether each image has each class (N, K)."""
        return self.probabilities_NK >= self.threshold if self.multi_label else self.logits_NK.argmax(-1)

    @property
    def correct_N(self) -> Tensor:
        """Whether the class of an image, or each of its classes, is predicted."""
        correct_N = self.predicted_N == self.labels_N
        return correct_N.all(1) if self.multi_label else correct_N

    def rows(self, rows_M: Tensor) -> TestSamples:
        """Some of the samples."""
        return TestSamples(*(one[rows_M] for one in self[:4]), threshold=self.threshold)


class TestSamplesCallback(Callback):
    """Calls `on_test_samples` on rank 0 when a test ends.

    The module's `test_step` returns a dict of tensors: `indices` (B,), `labels` (B,), `logits` (B, K) and `losses`
    (B,); if it returns anything else, nothing is called. The outputs stay on the device until the end of the epoch (for
    10,000 samples of 1,000 classes 40 MB), and are gathered from all ranks once for all callbacks of a trainer.
    """

    _samples: TestSamples | None = None

    def on_test_samples(self, trainer: Trainer, pl_module: LightningModule, samples: TestSamples) -> None:
        """Shows the samples. The network is in evaluation mode, and gradients are disabled."""

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._batches: list[dict[str, Tensor]] = []

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any, **__: Any) -> None:
        if self is next(_callbacks_of(trainer)) and _is_complete(outputs):
            self._batches.append(outputs)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self is not next(_callbacks_of(trainer)):
            return
        gathered = gather(trainer, self._batches)
        self._batches = []
        if gathered:
            threshold = getattr(pl_module, "threshold", 0.5)
            outputs = (gathered[name] for name in ("indices", "labels", "logits", "losses"))
            samples = TestSamples(*outputs, threshold=threshold)
            for callback in _callbacks_of(trainer):
                callback._samples = samples

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        samples, self._samples = self._samples, None
        if samples:
            self.on_test_samples(trainer, pl_module, samples)


def _callbacks_of(trainer: Trainer) -> Iterator[TestSamplesCallback]:
    callbacks: list[Callback] = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
    return (one for one in callbacks if isinstance(one, TestSamplesCallback))


def _is_complete(outputs: Any) -> bool:
    return isinstance(outputs, dict) and outputs.keys() >= {"indices", "labels", "logits", "losses"}
