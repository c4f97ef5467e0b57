"""The training, validation and test of an image classifier.

Shapes: B pictures of this process, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

import math
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from lightning import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)

from src.errors import UserError
from src.optim.warmup_decay import WarmupDecay


class LabelledBatch(Protocol):
    """What the steps take from a data module."""

    @property
    def images_BCHW(self) -> Tensor:
        """Float, normalized."""
        ...

    @property
    def labels_B(self) -> Tensor:
        """int64."""
        ...

    @property
    def indices_B(self) -> Tensor:
        """int64, the samples' numbers in their set."""
        ...

    @property
    def size(self) -> int:
        """Samples of all processes together."""
        ...


class Classifier(LightningModule):
    """Trains a network by cross-entropy and measures it.

    The loss of a step is the sum over this process's samples divided by the samples of all processes, so
    that training on several is training on one, also where a last batch does not divide.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerCallable = lambda params: torch.optim.RMSprop(params, lr=1e-3, alpha=0.9, eps=1e-7),
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Literal["step", "epoch"] = "step",
        label_smoothing: float = 0.0,
        num_classes: int = 10,
        init_from: str | None = None,
        compile: bool = False,
    ) -> None:
        """
        Args:
            net: any module that takes pictures (B, C, H, W) and gives logits (B, K), by class path:
                `src.models.DeepCNN`, `torchvision.models.resnet18`, your own.
            optimizer: by class path, without its parameters. The default is Keras's RMSprop.
            lr_scheduler: by class path, without its optimizer; none keeps the learning rate.
            lr_interval: whether the schedule moves on with each `step` or `epoch`.
            label_smoothing: share of the target that is spread over all classes, in [0, 1).
            num_classes: K; on the command line it is taken from the data.
            init_from: checkpoint file whose weights training begins with, with a new optimizer. On the command
                line also a run, whose best weights are meant.
            compile: compile the network by `torch.compile`.

        Raises:
            ValueError: if a number is out of range.
        """
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing {label_smoothing} is outside [0, 1); use 0 for none")
        if num_classes < 2:
            raise ValueError(f"num_classes {num_classes} must be at least 2")
        # Convolutions are faster with channels last on every kind of processor that this was measured on.
        self.net = net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.lr_interval = lr_interval
        self.label_smoothing = label_smoothing
        self.num_classes = num_classes
        self.init_from = init_from
        self.compile_net = compile
        self.config: dict[str, Any] | None = None  # the whole configuration, if there is one, for checkpoints
        self._logged_epoch: int | None = None  # whose training metrics Lightning knows of
        self._changed = (False, False)  # optimizer and schedule, against the checkpoint's
        self.train_metrics = _metrics(num_classes).clone(prefix="train/")
        self.val_metrics = _metrics(num_classes).clone(prefix="val/")
        self.test_metrics = _test_metrics(num_classes).clone(prefix="test/")
        self.confusion = MulticlassConfusionMatrix(num_classes)
        self.class_acc = MulticlassAccuracy(num_classes, average="none")

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits (B, K) of normalized pictures."""
        return self.net(images_BCHW.to(self.dtype))  # pyright: ignore[reportArgumentType]

    # Lightning's hooks

    def configure_optimizers(self) -> Any:
        """The configured optimizer and schedule."""
        optimizer = self.optimizer(self.parameters())
        if self.lr_scheduler is None:
            return optimizer
        scheduler = self.lr_scheduler(optimizer)
        plateau = isinstance(scheduler, ReduceLROnPlateau)  # moves on with the validation that it watches
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": scheduler,
                "interval": "epoch" if plateau else self.lr_interval,
                "monitor": getattr(scheduler, "monitor", "val/loss"),
            },
        }

    def on_train_start(self) -> None:
        """Compiles, and tells the schedule how long training lasts. Where it goes on from a checkpoint, that length and
        a changed optimizer configuration win over what was restored; what the optimizer has learnt stays."""
        if self.compile_net:
            # In place: a compiled copy would put _orig_mod. before every name in the checkpoint.
            self.net.compile()
        self._logged_epoch = None
        optimizer, scheduler = self.optimizers(use_pl_optimizer=False), self.lr_schedulers()
        optimizer_changed, schedule_changed = self._changed
        if optimizer_changed or schedule_changed:
            fresh = self.optimizer(self.parameters())
            for group, configured in zip(optimizer.param_groups, fresh.param_groups, strict=True):  # pyright: ignore
                start = group.get("initial_lr", group["lr"])
                reached = group["lr"] / start if start and not schedule_changed else 1.0
                group.update({name: value for name, value in configured.items() if name != "params"})
                group["lr"], group["initial_lr"] = reached * configured["lr"], configured["lr"]
            if isinstance(scheduler, LRScheduler):
                scheduler.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]  # pyright: ignore
        if isinstance(scheduler, WarmupDecay):
            scheduler.set_total_steps(self._schedule_length())

    def _schedule_length(self) -> int:
        """How often the schedule will be stepped."""
        steps = self.trainer.estimated_stepping_batches
        if steps == float("inf"):
            raise UserError(
                "WarmupDecay spans the whole training, so trainer.max_epochs or trainer.max_steps is needed"
            )
        if self.lr_interval == "step":
            return int(steps)
        steps_per_epoch = math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)
        return math.ceil(steps / steps_per_epoch)

    def training_step(self, batch: LabelledBatch, batch_idx: int) -> Tensor:
        """The loss of a step, for Lightning to go down."""
        losses_B, logits_BK = self._losses(batch, self.label_smoothing)
        self._update(self.train_metrics, batch, losses_B.detach(), logits_BK.detach())
        if self._logged_epoch != self.current_epoch:
            # Lightning keeps the metrics and asks them when the epoch has ended, so telling it once is enough; at
            # each step it took as long as all else that the trainer does around a step.
            self.log_dict(self.train_metrics, on_step=False, on_epoch=True, prog_bar=True, batch_size=batch.size)
            self._logged_epoch = self.current_epoch
        # Lightning takes the mean of the processes' gradients, so the sum is scaled up by their number.
        return losses_B.sum() * (self.trainer.world_size / batch.size)

    def on_train_epoch_end(self) -> None:
        """Lets a schedule that waits for a metric have it at the end of a resumed epoch, too: Lightning 2.6 passes
        it over for as long as it takes itself to be restarting (tests/test_stock.py). Its public setter would set the
        opposite where trainer.max_steps ends the training."""
        self.trainer.fit_loop._restarting = False

    def validation_step(self, batch: LabelledBatch, batch_idx: int) -> None:
        """Counts a batch of validation samples."""
        losses_B, logits_BK = self._losses(batch)
        self._update(self.val_metrics, batch, losses_B, logits_BK)
        if batch_idx == 0:
            self.log_dict(self.val_metrics, prog_bar=True, batch_size=batch.size)

    def test_step(self, batch: LabelledBatch, batch_idx: int) -> None:
        """Counts a batch of test samples."""
        losses_B, logits_BK = self._losses(batch)
        self._update(self.test_metrics, batch, losses_B, logits_BK)
        if batch_idx == 0:
            self.log_dict(self.test_metrics, batch_size=batch.size)
        if len(logits_BK):
            self.confusion.update(logits_BK, batch.labels_B)
            self.class_acc.update(logits_BK, batch.labels_B)

    def on_test_epoch_start(self) -> None:
        """Forgets an earlier test."""
        self.confusion.reset()
        self.class_acc.reset()

    def on_test_epoch_end(self) -> None:
        """Logs the accuracy of each class."""
        names = getattr(self.trainer.datamodule, "classes", range(self.num_classes))  # pyright: ignore[reportAttributeAccessIssue]
        accuracies_K = self.class_acc.compute()
        self.log_dict({f"test/acc_of/{name}": acc for name, acc in zip(names, accuracies_K, strict=True)})

    def predict_step(self, batch: LabelledBatch, batch_idx: int) -> dict[str, Tensor]:
        """Sample numbers, labels and class probabilities (B, K)."""
        probabilities_BK = self(batch.images_BCHW).float().softmax(-1)
        return {"indices": batch.indices_B, "labels": batch.labels_B, "probabilities": probabilities_BK}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Tells the difference, before Lightning loads the weights of another network."""
        if "train_metrics" in checkpoint and self.trainer.state.fn == "fit":
            self._restore_counts(checkpoint["train_metrics"])
        saved = checkpoint.get("config")
        if saved and self.config:
            before, now = saved["model"]["optimizer"], self.config["model"]["optimizer"]
            schedule_changed = saved["model"].get("lr_scheduler") != self.config["model"].get("lr_scheduler")
            if schedule_changed:  # what another schedule has reached says nothing to this one
                checkpoint["lr_schedulers"] = []
            self._changed = (before != now, schedule_changed)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the configuration, so that the file tells which network its weights are of."""
        checkpoint["config"] = self.config
        progress = self.trainer.fit_loop.epoch_loop.batch_progress
        if not progress.is_last_batch:  # in the middle of an epoch, its counts so far belong to it
            checkpoint["train_metrics"] = self._gathered(
                {name: dict(metric.metric_state) for name, metric in self.train_metrics.items(keep_base=True)}
            )

    def _gathered(self, own: Any) -> list[Any]:
        """Every process's counts, in the order of the ranks."""
        own = apply_to_collection(own, Tensor, lambda tensor: tensor.detach().cpu().clone())
        if self.trainer.world_size == 1:
            return [own]
        every: list[Any] = [None] * self.trainer.world_size
        torch.distributed.all_gather_object(every, own)
        return every

    def _restore_counts(self, every: list[dict[str, dict[str, Tensor]]]) -> None:
        """Takes this process's counts; with another number of processes, the first takes the sum of all."""
        same = len(every) == self.trainer.world_size
        if not same and self.trainer.global_rank > 0:
            return
        for name, metric in self.train_metrics.items(keep_base=True):
            assert isinstance(metric, Metric)
            for field in every[0][name]:
                parts = [counts[name][field] for counts in every]
                value = parts[self.trainer.global_rank] if same else torch.stack(parts).sum(0)
                setattr(metric, field, value.to(self.device))

    # Parts of the steps

    def _losses(self, batch: LabelledBatch, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        logits_BK = self(batch.images_BCHW).float()
        if logits_BK.shape[1:] != (self.num_classes,):
            raise UserError(
                f"model.net gives outputs of shape {tuple(logits_BK.shape)}; for {self.num_classes} classes it must "
                f"give ({len(batch.labels_B)}, {self.num_classes}). Set its num_classes"
            )
        losses_B = F.cross_entropy(logits_BK, batch.labels_B, reduction="none", label_smoothing=label_smoothing)
        return losses_B, logits_BK

    def _update(self, metrics: MetricCollection, batch: LabelledBatch, losses_B: Tensor, logits_BK: Tensor) -> None:
        if len(losses_B) == 0:  # this process's share of a last batch that has fewer samples than processes
            return
        for name, metric in metrics.items(keep_base=True):
            if name == "loss":
                metric.update(losses_B)
            else:
                metric.update(logits_BK, batch.labels_B)


def _metrics(num_classes: int) -> MetricCollection:
    return MetricCollection(
        {"loss": MeanMetric(nan_strategy="disable"), **_accuracies(num_classes)}, compute_groups=False
    )


def _test_metrics(num_classes: int) -> MetricCollection:
    more: dict[str, Metric] = {
        "loss": MeanMetric(nan_strategy="disable"),
        "f1": MulticlassF1Score(num_classes, average="macro"),
        "calibration_error": MulticlassCalibrationError(num_classes, n_bins=15),
    }
    return MetricCollection({**more, **_accuracies(num_classes)}, compute_groups=False)


def _accuracies(num_classes: int) -> dict[str, Metric]:
    # The data module has checked the labels and the step the logits' shape; torchmetrics would search each batch.
    micro: dict[str, Any] = {"average": "micro", "validate_args": False}
    top1 = MulticlassAccuracy(num_classes, **micro)
    if num_classes <= 5:
        return {"acc": top1}
    return {"acc": top1, "top5": MulticlassAccuracy(num_classes, **micro, top_k=5)}
