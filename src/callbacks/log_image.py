"""Images for the loggers that show images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from lightning import Trainer
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The width in pixels at which TensorBoard's page IMAGES shows every image, without interpolation. Text stays legible in
# an image of this width alone.
WIDTH = 350
_DPI = 100


def image_loggers(trainer: Trainer) -> list[Logger]:
    """The loggers that show images; none on all ranks but the first."""
    kinds = (TensorBoardLogger, WandbLogger, MLFlowLogger)
    return [logger for logger in trainer.loggers if isinstance(logger, kinds)] if trainer.is_global_zero else []


def log_image(trainer: Trainer, tag: str, image: Figure | NDArray[np.uint8]) -> None:
    """Shows an image (H, W, 3), or a figure, in all loggers that show images, at the trainer's step."""
    image_HWC = image if isinstance(image, np.ndarray) else pixels(image)
    step = trainer.global_step
    for logger in image_loggers(trainer):
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(tag, image_HWC, step, dataformats="HWC")
        elif isinstance(logger, WandbLogger):
            logger.log_image(tag, [image_HWC])
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_image(logger.run_id, image_HWC, artifact_file=f"{tag}_{step}.png")


def log_missing(trainer: Trainer, tag: str, text: str) -> None:
    """Says in place of an image why there is none."""
    figure = new_figure(60)
    figure.suptitle(text, fontsize=8, wrap=True, parse_math=False)
    log_image(trainer, tag, figure)


def new_figure(height: int, width: int = WIDTH) -> Figure:
    """A figure of this size in pixels, white also on a dark page."""
    from matplotlib.figure import Figure  # without pyplot, which would keep each figure in memory

    return Figure((width / _DPI, height / _DPI), dpi=_DPI, facecolor="white", layout="constrained")


def pixels(figure: Figure) -> NDArray[np.uint8]:
    """The image (H, W, 3) of a figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
