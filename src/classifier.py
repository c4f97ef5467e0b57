"""The LightningModule of an image classifier: loss, metrics, optimizer.

Shapes: B samples on this rank, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import asdict, replace
from typing import Any, Literal

import torch
from lightning import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import MetricCollection

from src.data import ImageDataModule
from src.data.batch import Batch
from src.data.image_spec import ImageSpec
from src.data.index_loader import IndexLoader
from src.errors import UserError
from src.metrics import F1AtThreshold, MeanAveragePrecision
from src.models.layers import layers
from src.models.memory_format import keep_contiguous
from src.models.pretrained import Normalization, fit_head
from src.optim.optimizer import build_layer_decay, build_optimizer, build_schedule
from src.optim.warmup_decay import WarmupDecay
from src.task import Loss, MetricCallable, MultiLabel, SingleLabel, per_image

SPEC = "spec"  # the entry of a checkpoint


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
        usable = len(of_each) == num_classes and all(weight >= 0 for weight in of_each) and any(of_each)
        if not usable or class_weights not in (of_each, "balanced", None):
            raise ValueError(
                f"class_weights {class_weights} must be {num_classes} numbers of at least 0, not all 0, or balanced"
            )
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
        self.loss = per_image(loss) if loss else None
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
        self.task = (MultiLabel if multi_label else SingleLabel)(num_classes)
        own = metrics or {}
        self.own_metrics = tuple(own)
        self.train_metrics = self.task.metrics("train", own)
        self.val_metrics = self.task.metrics("val", own)
        self.test_metrics = self.task.metrics("test", own)
        self.confusion = self.task.confusion()
        self._logged_epoch: int | None = None  # the epoch whose training metrics were given to Lightning

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
        return self.task.probabilities(logits_BK)

    def setup(self, stage: str) -> None:
        """Takes the classes and the normalization from the data, or gives them its own."""
        data = self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        self._share_spec(data)
        if stage != "fit":
            return
        if isinstance(self.class_weights, list):
            self.class_weights_K = torch.tensor(self.class_weights)
        elif isinstance(data, ImageDataModule) and self.class_weights:
            self.class_weights_K = self.task.balanced_weights(data.class_counts(), len(data.train_indices))
        elif self.class_weights:
            raise UserError("model.class_weights balanced needs an ImageDataModule; give a list")

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
        if self.layer_decay < 1:
            of_layers, inside = list(layers(self.net).values()), set(self.net.parameters())
            of_layers[-1] += [own for own in self.parameters() if own not in inside]  # as of a loss
            optimizer = build_layer_decay(self.optimizer, of_layers, self.layer_decay)
        else:
            optimizer = build_optimizer(self.optimizer, self.parameters())
        if self.lr_scheduler is None:
            return optimizer
        scheduler = build_schedule(self.lr_scheduler, optimizer, self.layer_decay)
        plateau = isinstance(scheduler, ReduceLROnPlateau)  # steps after the validation that it monitors
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": scheduler,
                "interval": "epoch" if plateau else self.lr_interval,
                "monitor": getattr(scheduler, "monitor", "val/loss"),
            },
        }

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
        losses_B, logits_BK = self._losses(batch, self.label_smoothing, self.class_weights_K)
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
        return {"indices": batch.indices_B, "labels": batch.labels_B, "logits": logits_BK}

    def on_validation_epoch_end(self) -> None:
        """Chooses the threshold in training, where an image can have several classes."""
        for f1 in self.val_metrics.values():
            if isinstance(f1, F1AtThreshold) and not self.trainer.sanity_checking:
                if self.spec and self.trainer.state.fn == "fit":
                    self.spec = replace(self.spec, threshold=f1.best())
                f1.chosen = self.threshold
                # All ranks have the same value, and each may monitor it.
                self.log("val/threshold", self.threshold, reduce_fx="max", sync_dist=True)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Sample indices (B), labels (B), logits (B, K) and losses (B)."""
        losses_B, logits_BK = self._losses(batch)
        self._update(self.test_metrics, batch, losses_B, logits_BK)
        if batch_idx == 0:
            self.log_dict(self.test_metrics, batch_size=batch.size)
        if len(logits_BK):
            self.confusion.update(self.task.predicted(logits_BK, self.threshold), batch.labels_B)
        return {"indices": batch.indices_B, "labels": batch.labels_B, "logits": logits_BK, "losses": losses_B}

    def on_test_epoch_start(self) -> None:
        self.confusion.reset()

    def on_test_epoch_end(self) -> None:
        names = getattr(self.trainer.datamodule, "classes", range(self.num_classes))  # pyright: ignore[reportAttributeAccessIssue]
        scores = self.task.test_scores(self.confusion.compute(), names, self.threshold)
        # All ranks have the same values: the first logs them, and without sync_dist Lightning warns for each.
        self.log_dict({f"test/{name}": score for name, score in scores.items()}, rank_zero_only=True, sync_dist=True)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Sample indices (B), labels (B) and class probabilities (B, K)."""
        probabilities_BK = self.probabilities(self(batch.images_BCHW).float())
        return {"indices": batch.indices_B, "labels": batch.labels_B, "probabilities": probabilities_BK}

    def _losses(
        self, batch: Batch, label_smoothing: float = 0.0, weights_K: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Losses (B,) and logits (B, K)."""
        logits_BK = self(batch.images_BCHW).float()
        if logits_BK.shape[1:] != (self.num_classes,):
            raise UserError(
                f"model.net returns outputs of shape {tuple(logits_BK.shape)}; for {self.num_classes} classes it must "
                f"return ({len(batch.labels_B)}, {self.num_classes}). Set its num_classes"
            )
        losses_B = self.task.losses(logits_BK, batch.labels_B, self.loss, label_smoothing, weights_K)
        if batch.partner_labels_B is not None and batch.weights_B is not None:  # a mixture of two images
            others_B = self.task.losses(logits_BK, batch.partner_labels_B, self.loss, label_smoothing, weights_K)
            losses_B = torch.lerp(others_B, losses_B, batch.weights_B)
        return losses_B, logits_BK

    def _update(self, metrics: MetricCollection, batch: Batch, losses_B: Tensor, logits_BK: Tensor) -> None:
        labels_B = batch.heavier_labels_B
        for name, metric in metrics.items(keep_base=True):
            if name == "loss":
                values = (losses_B,)
            else:
                values = (logits_BK if name in self.task.of_logits else self.probabilities(logits_BK), labels_B)
            # This rank's shard of a last batch can have no samples. Average precision takes none, too: its lists then
            # have tensors of as many dimensions on each rank.
            if len(losses_B) or isinstance(metric, MeanAveragePrecision):
                metric.update(*values)
