"""Augmented training images."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch.nn.functional import interpolate
from torchvision.utils import make_grid, save_image

from src.callbacks.class_names import class_names, names_of
from src.callbacks.display_only import display_only
from src.callbacks.image_grid import image_grid
from src.callbacks.log_image import image_loggers, log_image
from src.data import ImageDataModule

SHOWN_COLUMNS = 5  # in a dashboard, where more would be too small


class AugmentationPreview(Callback):
    """Saves preview.png in the run directory: one row per training image, with the original first and then the image as
    augmented in each of the first epochs. Dashboards show the first columns of it, with the class of each row."""

    def __init__(self, num_images: int = 8, num_epochs: int = 9) -> None:
        """
        Args:
            num_images: rows.
            num_epochs: columns after the original.

        Raises:
            ValueError: if a number is out of range.
        """
        if num_images < 1 or num_epochs < 1:
            raise ValueError(f"num_images {num_images} and num_epochs {num_epochs} must be at least 1")
        self.num_images = num_images
        self.num_epochs = num_epochs

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(data, ImageDataModule) and trainer.global_step == 0:
            with display_only("the preview of augmented images"):
                self._save(trainer, data)

    def _save(self, trainer: Trainer, data: ImageDataModule) -> None:
        indices_B = data.train_indices[: self.num_images]
        images_BCHW = data.image_set("train").images_NHWC[indices_B].cpu().permute(0, 3, 1, 2).float() / 255
        augmented = (data.augment_images(images_BCHW, indices_B, epoch) for epoch in range(self.num_epochs))
        columns = [data.center(column_BCHW) for column_BCHW in (images_BCHW, *augmented)]
        size = columns[0].shape[-2:]  # training may see smaller images
        columns = [one if one.shape[-2:] == size else interpolate(one, size, mode="bilinear") for one in columns]
        grid_CHW = make_grid(torch.stack(columns, dim=1).flatten(0, 1), nrow=len(columns), padding=1, pad_value=1.0)
        path = Path(trainer.default_root_dir) / "preview.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_image(grid_CHW, path)
        if image_loggers(trainer):
            names = class_names(trainer, data.num_classes)
            shown = columns[:SHOWN_COLUMNS]
            captions = [
                name if number == 0 else f"epoch {number}"
                for name in names_of(data.image_set("train").labels_N[indices_B], names)
                for number in range(len(shown))
            ]
            images_NHWC = torch.stack(shown, dim=1).flatten(0, 1).clamp(0, 1).permute(0, 2, 3, 1)
            log_image(
                trainer, "view_train/augmented", image_grid(images_NHWC, captions, len(shown), "Augmented images")
            )
