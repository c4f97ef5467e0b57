"""TensorBoard's page CUSTOM SCALARS."""

from __future__ import annotations

from lightning import Callback, LightningModule, Trainer

from src.callbacks.display_only import display_only
from src.callbacks.tensorboard import summary_writer

# Each chart has regular expressions of tags.
LAYOUT = {
    "training": {
        "loss": ["Multiline", ["^train/loss$", "^val/loss$"]],
        "accuracy": ["Multiline", ["^train/acc$", "^val/acc$"]],
        "learning rate": ["Multiline", ["^train/lr"]],
    },
    "diagnosis": {
        "norm of the gradient": ["Multiline", ["^watch/gradient_norm$"]],
        "norm of an update / norm of the weights": ["Multiline", ["^watch/update_ratio$"]],
        "images/s": ["Multiline", ["^watch/images_per_second$"]],
        "seconds per epoch": ["Multiline", ["^watch/seconds_per_epoch$"]],
        "memory in GB": ["Multiline", ["^watch/memory_GB$"]],
    },
}
# Of images with several classes.
MULTI_LABEL = {
    "training": {
        "loss": LAYOUT["training"]["loss"],
        "mean average precision": ["Multiline", ["^train/map$", "^val/map$"]],
        "F1 score and threshold": ["Multiline", ["^val/f1$", "^val/threshold$"]],
        "learning rate": LAYOUT["training"]["learning rate"],
    },
    "diagnosis": LAYOUT["diagnosis"],
}


class ScalarLayout(Callback):
    """Arranges TensorBoard's page CUSTOM SCALARS: training and validation in one chart for the loss and one for the
    accuracy (of images with several classes the mean average precision), the learning rate, and what `TrainingHealth`
    logs."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if writer := summary_writer(trainer):
            with display_only("the page CUSTOM SCALARS"):
                writer.add_custom_scalars(MULTI_LABEL if getattr(pl_module, "multi_label", False) else LAYOUT)
