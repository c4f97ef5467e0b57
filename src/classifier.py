"""The LightningModule of an image classifier: loss, metrics, optimizer.

Shapes: B samples on this rank, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from lightning import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassConfusionMatrix, MultilabelConfusionMatrix

from src.data import ImageDataModule
from src.data.batch import Batch
from src.data.image_spec import ImageSpec
from src.data.index_loader import IndexLoader
from src.errors import UserError
from src.metrics import (
    NUM_THRESHOLDS,
    MetricCallable,
    at_all_thresholds,
    best_threshold,
    class_metrics,
    f1_scores,
    metrics_of,
    test_metrics_of,
)
from src.models.layers import layers
from src.models.memory_format import keep_contiguous
from src.models.pretrained import Normalization, fit_head
from src.optim.warmup_decay import WarmupDecay

SPEC = "spec"  # the entry of a checkpoint

Loss = nn.Module | Callable[[Tensor, Tensor], Tensor]  # of logits and labels


class Classifier(LightningModule):
    """Trains a network by cross-entropy and evaluates it.

    The loss of a step is the sum over the samples of this rank divided by the samples of all ranks and accumulated
    batches, so that training on several ranks, or with `accumulate_grad_batches`, equals training on one rank with
    large batches, also where the last of them are incomplete.

    Where an image can have several classes, `loss` is one of logits and targets (B, K), by default
    `torch.nn.BCEWithLogitsLoss`; that of an image is the mean over its classes. `label_smoothing` is over having and
    not having a class, and `class_weights` multiply the loss of each class in the images that have it: `balanced` is
    the number of images without the class divided by that of images with it.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerCallable = lambda params: torch.optim.AdamW(params),
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Literal["step", "epoch"] = "step",
        layer_decay: float = 1.0,
        label_smoothing: float = 0.0,
        loss: Loss | None = None,
        metrics: dict[str, MetricCallable] | None = None,
        class_weights: list[float] | str | None = None,
        num_classes: int = 10,
        multi_label: bool = False,
        init_from: str | None = None,
        compile: bool = False,
        channels_last: bool = True,
    ) -> None:
        """
        Args:
            net: any module from images (B, C, H, W) to logits (B, K), by class path: `src.models.DeepCNN`,
                `torchvision.models.resnet18`, your own.
            optimizer: by class path, without its parameters. The default is AdamW.
            lr_scheduler: by class path, without its optimizer; null keeps the learning rate constant.
            lr_interval: whether the schedule steps after each `step` or each `epoch`.
            layer_decay: learning rate of a block of the network, as a fraction of that of the next one.
            label_smoothing: fraction of the target that is spread over all classes, in [0, 1).
            loss: of training and evaluation, by class path: a loss of torch, such as `torch.nn.MultiMarginLoss`, or a
                function of logits (B, K) and labels (B). The default is cross-entropy.
            metrics: in addition, by their names: torchmetrics classes whose first argument is the number of classes,
                without it, such as `torchmetrics.classification.MulticlassF1Score`. They get probabilities.
            class_weights: by which the training loss of each image is multiplied, one for each class in their order;
                `balanced` is inversely proportional to the number of training images, one on average.
            num_classes: K; on the command line it is taken from the data.
            multi_label: whether an image can have several classes, as the data say.
            init_from: checkpoint, or file of weights, whose weights training starts from as far as they fit. On the
                command line also a run: `RUN` or `RUN@best` is its best checkpoint, `RUN@last` its last.
            compile: compile the network by `torch.compile`.
            channels_last: keep the weights in channels-last memory format, which is faster. An optimizer that views
                gradients as vectors needs false, such as `torch.optim.LBFGS`.

        Raises:
            ValueError: if a number is out of range.
        """
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing {label_smoothing} is outside [0, 1); use 0 for none")
        if loss and label_smoothing:
            raise ValueError(f"label_smoothing {label_smoothing} is of the default loss; give it to model.loss instead")
        of_each = class_weights if isinstance(class_weights, list) else [1.0] * num_classes
        if len(of_each) != num_classes or min(of_each) < 0 or class_weights not in (of_each, "balanced", None):
            raise ValueError(f"class_weights {class_weights} must be {num_classes} numbers of at least 0, or balanced")
        if num_classes < 2:
            raise ValueError(f"num_classes {num_classes} must be at least 2")
        if not 0 < layer_decay <= 1:
            raise ValueError(f"layer_decay {layer_decay} is outside (0, 1]; use 1 for one learning rate")
        if replaced := fit_head(net, num_classes):
            rank_zero_info(f"{replaced} is replaced by one of {num_classes}, for the classes of the data")
        self.net = net
        if channels_last:  # convolutions are faster in it on every kind of processor that was measured
            net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        if unsafe := keep_contiguous(net):  # images are channels-last in any case
            rank_zero_info(f"on a CPU, oneDNN corrupts memory in channels-last {', '.join(unsafe)}: kept contiguous")
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.lr_interval = lr_interval
        self.layer_decay = layer_decay
        self.label_smoothing = label_smoothing
        self.loss = _per_image(loss) if loss else None
        self.num_classes = num_classes
        self.multi_label = multi_label
        self.class_weights = class_weights
        self.class_weights_K: Tensor | None
        self.register_buffer("class_weights_K", None, persistent=False)
        self.init_from = init_from
        self.compile_net = compile
        self.config: dict[str, Any] | None = None  # the entire configuration, if there is one, for checkpoints
        self.settings: dict[str, Any] = {}  # what of it was set by a recipe or on the command line, with dotted keys
        self.spec: ImageSpec | None = None  # of the images that it was first trained or evaluated on
        self.normalization: Normalization | None = None  # of the images that its initial weights were trained on
        self._logged_epoch: int | None = None  # the epoch whose training metrics were given to Lightning
        own = metrics or {}
        self.train_metrics = metrics_of(num_classes, own, multi_label).clone(prefix="train/")
        self.val_metrics = metrics_of(num_classes, own, multi_label).clone(prefix="val/")
        self.test_metrics = test_metrics_of(num_classes, own, multi_label).clone(prefix="test/")
        kind = MultilabelConfusionMatrix if multi_label else MulticlassConfusionMatrix
        self.confusion = kind(num_classes, validate_args=False)
        # Of the validation, for each class at each threshold.
        self.confusion_of_thresholds = (
            MultilabelConfusionMatrix(NUM_THRESHOLDS * num_classes, validate_args=False) if multi_label else None
        )

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits (B, K) of normalized images."""
        return self.net(images_BCHW.to(self.dtype))  # pyright: ignore[reportArgumentType]

    @property
    def threshold(self) -> float:
        """The probability from which an image has a class, if it can have several: the one with the largest F1 score in
        the last validation of the training, 0.5 before. Part of `spec`."""
        return self.spec.threshold if self.spec else 0.5

    def probabilities(self, logits_BK: Tensor) -> Tensor:
        """Class probabilities (B, K), which add up to 1 unless an image can have several classes."""
        return logits_BK.sigmoid() if self.multi_label else logits_BK.softmax(-1)

    def setup(self, stage: str) -> None:
        """Takes the classes and the normalization from the data, or gives them its own."""
        data = self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        self._share_spec(data)
        if stage == "fit" and self.class_weights:
            self.class_weights_K = self._weights_of_classes(data)

    def _weights_of_classes(self, data: object) -> Tensor:
        if isinstance(self.class_weights, list):
            return torch.tensor(self.class_weights)
        if not isinstance(data, ImageDataModule):
            raise UserError("model.class_weights balanced needs an ImageDataModule; give a list")
        counts_K = data.class_counts()
        if self.multi_label:
            return (len(data.train_indices) - counts_K) / counts_K.clamp(min=1)
        return counts_K.sum() / (self.num_classes * counts_K.clamp(min=1).float())

    def _share_spec(self, data: object) -> None:
        if isinstance(data, ImageDataModule):
            if data.multi_label != self.multi_label:
                raise UserError(
                    f"multi_label of the model is {self.multi_label} and of the data {data.multi_label}; give the "
                    "Classifier the same as the data"
                )
            if self.normalization and not self.spec and data.use_normalization(*self.normalization):
                rank_zero_info("normalization of the initial weights: mean {}, std {}".format(*self.normalization))
            self.spec = self.spec or data.spec
            data.use_spec(self.spec)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.spec:
            checkpoint[SPEC] = asdict(self.spec)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the classes and the normalization from a checkpoint; older ones have none."""
        if SPEC in checkpoint:
            self.spec = ImageSpec(**checkpoint[SPEC])
            data = None
            with contextlib.suppress(RuntimeError):  # there is no trainer in load_from_checkpoint
                data = self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
            self._share_spec(data)

    def configure_optimizers(self) -> Any:
        try:
            optimizer = self._optimizer_of_layers() if self.layer_decay < 1 else self.optimizer(self.parameters())
        except ValueError as error:
            if self.layer_decay < 1 and "groups" in str(error):
                raise UserError(f"model.layer_decay {self.layer_decay} is not for this optimizer: {error}") from error
            if "Muon only supports 2D" in str(error):
                raise UserError("torch.optim.Muon takes matrices alone; use src.optim.Muon for a network") from error
            raise
        if isinstance(optimizer, torch.optim.LBFGS) and not all(own.is_contiguous() for own in self.parameters()):
            raise UserError(
                "LBFGS views gradients as vectors, which those in channels-last memory format cannot be; "
                "set model.channels_last to false"
            )
        if self.lr_scheduler is None:
            return optimizer
        try:
            scheduler = self.lr_scheduler(optimizer)
        except TypeError as error:
            raise UserError(
                f"model.lr_scheduler cannot be built from the optimizer alone: {error}. A schedule of other schedules, "
                "such as ChainedScheduler, needs a function of your own that takes the optimizer and returns it"
            ) from error
        rates = {group.get("initial_lr", group["lr"]) for group in optimizer.param_groups}
        if self.layer_decay < 1 and len(rates) < len(optimizer.param_groups):
            raise UserError(
                f"{type(scheduler).__name__} sets one learning rate for all layers, so that model.layer_decay "
                f"{self.layer_decay} has no effect; use a schedule that scales those of the optimizer, such as "
                "src.optim.WarmupDecay"
            )
        plateau = isinstance(scheduler, ReduceLROnPlateau)  # steps after the validation that it monitors
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": scheduler,
                "interval": "epoch" if plateau else self.lr_interval,
                "monitor": getattr(scheduler, "monitor", "val/loss"),
            },
        }

    def _optimizer_of_layers(self) -> torch.optim.Optimizer:
        """The optimizer with one parameter group for each layer."""
        of_layers, inside = list(layers(self.net).values()), set(self.net.parameters())
        of_layers[-1] += [own for own in self.parameters() if own not in inside]  # as of a loss
        optimizer = self.optimizer([{"params": params} for params in of_layers])  # pyright: ignore[reportArgumentType]
        for depth, group in enumerate(reversed(optimizer.param_groups)):
            group["lr"] *= self.layer_decay**depth
        return optimizer

    def on_train_start(self) -> None:
        if self.compile_net:
            # In place: a compiled copy would put _orig_mod. before every name in the checkpoint.
            self.net.compile()
        self._logged_epoch = None
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, WarmupDecay):
            scheduler.set_total_steps(self._scheduler_steps())

    def _scheduler_steps(self) -> int:
        """How often the schedule will step in the entire training."""
        steps = self.trainer.estimated_stepping_batches
        if steps == float("inf"):
            raise UserError(
                "WarmupDecay spans the entire training, so trainer.max_epochs or trainer.max_steps is needed"
            )
        if self.lr_interval == "step":
            return int(steps)
        steps_per_epoch = math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)
        return math.ceil(steps / steps_per_epoch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        losses_B, logits_BK = self._losses(batch, self.label_smoothing)
        self._update(self.train_metrics, batch, losses_B.detach(), logits_BK.detach())
        if self._logged_epoch != self.current_epoch:
            # Lightning keeps the metrics and computes them at the end of the epoch, so logging them once is enough;
            # in each step it took as long as all other overhead of the trainer.
            self.log_dict(self.train_metrics, on_step=False, on_epoch=True, prog_bar=True, batch_size=batch.size)
            self._logged_epoch = self.current_epoch
        # Lightning averages over the ranks and the accumulated batches, so the sum is scaled by their numbers.
        averaged = self.trainer.world_size * self.trainer.accumulate_grad_batches
        return losses_B.sum() * (averaged / self._samples_of_step(batch, batch_idx))

    def _samples_of_step(self, batch: Batch, batch_idx: int) -> int:
        """The samples of all batches whose gradients are accumulated with those of this one."""
        first = batch_idx - batch_idx % self.trainer.accumulate_grad_batches
        last = int(min(first + self.trainer.accumulate_grad_batches, self.trainer.num_training_batches))
        loader = self.trainer.train_dataloader
        # Another loader's batches are taken to be equally large.
        return loader.num_samples(first, last) if isinstance(loader, IndexLoader) else batch.size * (last - first)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Sample indices (B), labels (B) and logits (B, K)."""
        losses_B, logits_BK = self._losses(batch)
        self._update(self.val_metrics, batch, losses_B, logits_BK)
        if batch_idx == 0:
            self.log_dict(self.val_metrics, prog_bar=True, batch_size=batch.size)
        if self.confusion_of_thresholds is not None and len(logits_BK):
            self.confusion_of_thresholds.update(*at_all_thresholds(self.probabilities(logits_BK), batch.labels_B))
        return {"indices": batch.indices_B, "labels": batch.labels_B, "logits": logits_BK}

    def on_validation_epoch_start(self) -> None:
        if self.confusion_of_thresholds is not None:
            self.confusion_of_thresholds.reset()

    def on_validation_epoch_end(self) -> None:
        """Chooses the threshold in training, where an image can have several classes."""
        if self.confusion_of_thresholds is None or self.trainer.sanity_checking:
            return
        counts_TK22 = self.confusion_of_thresholds.compute().unflatten(0, (NUM_THRESHOLDS, self.num_classes))
        f1_T = f1_scores(counts_TK22).nanmean(-1)
        if self.spec and self.trainer.state.fn == "fit":
            self.spec = replace(self.spec, threshold=best_threshold(f1_T))
        f1 = f1_T[round(self.threshold * (NUM_THRESHOLDS + 1)) - 1]
        # All ranks have the same values, and each may monitor them.
        self.log_dict({"val/f1": f1, "val/threshold": self.threshold}, reduce_fx="max", sync_dist=True)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Sample indices (B), labels (B), logits (B, K) and losses (B)."""
        losses_B, logits_BK = self._losses(batch)
        self._update(self.test_metrics, batch, losses_B, logits_BK)
        if batch_idx == 0:
            self.log_dict(self.test_metrics, batch_size=batch.size)
        if len(logits_BK):
            decided = (self.probabilities(logits_BK) >= self.threshold).int() if self.multi_label else logits_BK
            self.confusion.update(decided, batch.labels_B)
        return {"indices": batch.indices_B, "labels": batch.labels_B, "logits": logits_BK, "losses": losses_B}

    def on_test_epoch_start(self) -> None:
        self.confusion.reset()

    def on_test_epoch_end(self) -> None:
        names = getattr(self.trainer.datamodule, "classes", range(self.num_classes))  # pyright: ignore[reportAttributeAccessIssue]
        if self.multi_label:
            f1_K = f1_scores(self.confusion.compute())
            metrics = {f"test/f1_of/{name}": f1 for name, f1 in zip(names, f1_K, strict=True)}
            metrics["test/threshold"] = torch.tensor(self.threshold)
        else:
            acc_K, f1_K = class_metrics(self.confusion.compute())
            metrics = {f"test/acc_of/{name}": acc for name, acc in zip(names, acc_K, strict=True)}
            metrics["test/balanced_acc"] = acc_K.nanmean()
        # All ranks have the same values: the first logs them, and without sync_dist Lightning warns for each.
        self.log_dict({"test/f1": f1_K.nanmean(), **metrics}, rank_zero_only=True, sync_dist=True)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Sample indices (B), labels (B) and class probabilities (B, K)."""
        probabilities_BK = self.probabilities(self(batch.images_BCHW).float())
        return {"indices": batch.indices_B, "labels": batch.labels_B, "probabilities": probabilities_BK}

    def _losses(self, batch: Batch, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        logits_BK = self(batch.images_BCHW).float()
        if logits_BK.shape[1:] != (self.num_classes,):
            raise UserError(
                f"model.net returns outputs of shape {tuple(logits_BK.shape)}; for {self.num_classes} classes it must "
                f"return ({len(batch.labels_B)}, {self.num_classes}). Set its num_classes"
            )
        losses_B = self._loss(logits_BK, batch.labels_B, label_smoothing)
        if batch.partner_labels_B is not None and batch.weights_B is not None:  # a mixture of two images
            others_B = self._loss(logits_BK, batch.partner_labels_B, label_smoothing)
            losses_B = torch.lerp(others_B, losses_B, batch.weights_B)
        return losses_B, logits_BK

    def _loss(self, logits_BK: Tensor, labels_B: Tensor, label_smoothing: float) -> Tensor:
        if self.multi_label:
            return self._loss_of_several(logits_BK, labels_B.to(logits_BK.dtype), label_smoothing)
        if self.loss is None:
            losses_B = F.cross_entropy(logits_BK, labels_B, reduction="none", label_smoothing=label_smoothing)
        else:
            losses_B = self.loss(logits_BK, labels_B)
        if losses_B.shape != labels_B.shape:
            raise UserError(
                f"model.loss returns {tuple(losses_B.shape)} for {tuple(logits_BK.shape)} logits; it must return one "
                f"loss per image, {tuple(labels_B.shape)}, without a mean over the batch"
            )
        if self.training and self.class_weights_K is not None:
            losses_B = losses_B * self.class_weights_K[labels_B]
        return losses_B

    def _loss_of_several(self, logits_BK: Tensor, targets_BK: Tensor, label_smoothing: float) -> Tensor:
        if self.loss is None:
            smoothed_BK = targets_BK * (1 - label_smoothing) + label_smoothing / 2
            losses_BK = F.binary_cross_entropy_with_logits(logits_BK, smoothed_BK, reduction="none")
        else:
            losses_BK = self.loss(logits_BK, targets_BK)
        if losses_BK.shape == targets_BK.shape[:1] and not self.class_weights:  # a loss with a mean over the classes
            return losses_BK
        if losses_BK.shape != targets_BK.shape:
            raise UserError(
                f"model.loss returns {tuple(losses_BK.shape)} for {tuple(logits_BK.shape)} logits and targets; it must "
                "return one loss per image and class, or, without class_weights, one per image"
            )
        if self.training and self.class_weights_K is not None:
            losses_BK = losses_BK * torch.where(targets_BK > 0, self.class_weights_K, 1.0)
        return losses_BK.mean(1)

    def _update(self, metrics: MetricCollection, batch: Batch, losses_B: Tensor, logits_BK: Tensor) -> None:
        if batch.partner_labels_B is not None and batch.weights_B is not None:  # the class with the larger weight
            own_B = (batch.weights_B >= 0.5).unflatten(0, (-1, *(1,) * (batch.labels_B.dim() - 1)))
            batch = batch._replace(labels_B=batch.labels_B.where(own_B, batch.partner_labels_B))
        for name, metric in metrics.items(keep_base=True):
            # This rank's shard of a last batch can have no samples; `map` gathers tensors with as many dimensions.
            if len(losses_B) == 0 and name != "map":
                continue
            if name == "loss":
                metric.update(losses_B)
            elif self.multi_label or name not in ("acc", "top5"):
                # torchmetrics takes a batch whose logits all lie in [0, 1] for probabilities.
                metric.update(self.probabilities(logits_BK), batch.labels_B)
            else:
                metric.update(logits_BK, batch.labels_B)


def _per_image(loss: Loss) -> Loss:
    """A loss without a mean over the batch, since the step divides by the samples of all ranks."""
    function: Any = loss
    if isinstance(loss, nn.Module):
        if hasattr(loss, "reduction"):
            function.reduction = "none"
        return function
    return functools.partial(function, reduction="none") if "reduction" in inspect.signature(loss).parameters else loss
