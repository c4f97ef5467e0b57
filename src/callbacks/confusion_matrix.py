"""The confusion matrix of the test, as a picture and as numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from src.callbacks.tensorboard import summary_writer
from src.classifier import Classifier

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
CELL = 44  # pixels
MOST = 50  # classes; beyond, a picture is too large to look at


class ConfusionMatrix(Callback):
    """Writes confusion_matrix.png and confusion_matrix.json into the run directory and the picture to
    TensorBoard, when a test has ended."""

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gathers the counts of all processes; the first draws them."""
        if not isinstance(pl_module, Classifier):
            return
        counts_KK = pl_module.confusion.compute().cpu()
        if not trainer.is_global_zero:
            return
        classes = getattr(trainer.datamodule, "classes", None) or range(len(counts_KK))  # pyright: ignore
        names = [str(name) for name in classes]
        directory = Path(trainer.default_root_dir)
        directory.mkdir(parents=True, exist_ok=True)
        content = {"classes": names, "rows_are": "true class", "counts": counts_KK.tolist()}
        (directory / "confusion_matrix.json").write_text(json.dumps(content) + "\n")
        if len(names) > MOST:
            return
        picture = draw(counts_KK, names)
        picture.save(directory / "confusion_matrix.png")
        if board := summary_writer(trainer):
            board.add_image("test/confusion_matrix", np.asarray(picture), trainer.global_step, dataformats="HWC")


def draw(counts_KK: Tensor, names: list[str]) -> Image.Image:
    """True classes are rows, predicted ones columns; a cell is the darker, the larger its share of its row."""
    font = ImageFont.load_default(13)
    margin = max(int(font.getlength(name)) for name in names) + 24
    side = margin + CELL * len(names) + 8
    picture = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(picture)
    share_KK = counts_KK / counts_KK.sum(1, keepdim=True).clamp(min=1)
    for row, name in enumerate(names):
        middle = margin + CELL * row + CELL // 2
        pen.text((margin - 8, middle), name, "black", font, anchor="rm")
        _write_upwards(picture, name, font, middle, margin - 8)
        for column in range(len(names)):
            share = float(share_KK[row, column])
            left, top = margin + CELL * column, margin + CELL * row
            shade = torch.lerp(torch.tensor([255.0, 255, 255]), torch.tensor([8.0, 64, 129]), share**0.7)
            pen.rectangle((left, top, left + CELL - 2, top + CELL - 2), tuple(int(v) for v in shade))
            ink = "white" if share > 0.4 else "black"
            pen.text((left + CELL // 2, top + CELL // 2), str(int(counts_KK[row, column])), ink, font, anchor="mm")
    pen.text((8, 8), "true, down / predicted, across", "gray", ImageFont.load_default(10))
    return picture


def _write_upwards(picture: Image.Image, text: str, font: Font, x: int, bottom: int) -> None:
    strip = Image.new("RGB", (int(font.getlength(text)) + 2, 18), "white")
    ImageDraw.Draw(strip).text((0, 9), text, "black", font, anchor="lm")
    strip = strip.rotate(90, expand=True)
    picture.paste(strip, (x - 9, bottom - strip.height))
