"""Initial weights that are computed from training images."""

from __future__ import annotations

from contextlib import nullcontext

from lightning import Callback, LightningModule, Trainer

from src.data import ImageDataModule


class DataDependentInit(Callback):
    """Calls the network's `init_from_data(images_BCHW)`, if it has this method, with normalized training images before
    the first step. The whitening layer of `SpeedNet` computes its weights from them."""

    def __init__(self, num_images: int = 5000) -> None:
        """
        Args:
            num_images: the first training images, at most this many.

        Raises:
            ValueError: if the number is out of range.
        """
        if num_images < 1:
            raise ValueError(f"num_images {num_images} must be at least 1")
        self.num_images = num_images

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        initialize = getattr(getattr(pl_module, "net", pl_module), "init_from_data", None)
        data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        # Weights from a checkpoint are already computed from data.
        if trainer.ckpt_path or getattr(pl_module, "init_from", None):
            return
        if initialize is not None and isinstance(data, ImageDataModule):
            images_NHWC = data.image_set("train").images_NHWC[data.train_indices[: self.num_images]]
            images_BCHW = images_NHWC.permute(0, 3, 1, 2).to(pl_module.device).float() / 255
            whole = getattr(trainer.strategy, "unsharded", nullcontext)  # of FSDP
            with whole(pl_module):
                initialize(data.normalize_images(images_BCHW))
