"""Augmented training pictures to look at, as the notebooks' preview folder has them."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torchvision.utils import make_grid, save_image

from src.callbacks.tensorboard import writer

ROWS, EPOCHS = 8, 9


class AugmentationPreview(Callback):
    """Shows the first training pictures, each with how it is augmented in the first epochs: as an image in
    TensorBoard and as preview.png in the run directory."""

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws the grid, when training begins at its beginning."""
        data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        if data is None or trainer.global_step > 0:
            return
        indices_B = data.train_indices[:ROWS]
        images_BCHW = data.image_set("train").images_NHWC[indices_B].cpu().permute(0, 3, 1, 2).float() / 255
        columns = [images_BCHW, *(data.augmented(images_BCHW, indices_B, epoch) for epoch in range(EPOCHS))]
        grid_CHW = make_grid(torch.stack(columns, dim=1).flatten(0, 1), nrow=1 + EPOCHS, padding=1, pad_value=1.0)
        save_image(grid_CHW, Path(trainer.default_root_dir) / "preview.png")
        if board := writer(trainer):
            board.add_image("train/augmented", grid_CHW, 0)
