"""Keras 3 as the notebooks use it, as a side that takes turns of an epoch. Runs in a Python that has keras.

    KERAS_BACKEND=... python -m benchmarks.keras_side RECIPE ARCHIVE STEPS

ARCHIVE is an .npz with the training `images` (N, H, W, C), uint8, and `labels` (N).
"""

from __future__ import annotations

import sys
from typing import Any

import keras  # pyright: ignore[reportMissingImports]
import numpy as np
from keras import layers  # pyright: ignore[reportMissingImports]

from benchmarks.notebooks import BATCH, FITS, Fit
from benchmarks.turns import Turns


def network(fit: Fit) -> Any:
    """The notebooks' network, with augmentation where it is made of layers."""
    augment = [
        layers.RandomFlip("horizontal"),
        layers.RandomRotation(0.05),
        layers.RandomZoom(0.1),
        layers.RandomTranslation(0.1, 0.1),
    ]
    head = [layers.Flatten(), layers.Dense(512, activation="relu"), layers.Dropout(0.5)]
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            *(augment if fit.augmentation == "layers" else []),
            *([] if fit.fourth_conv is None else [_conv(32)]),
            *(_conv(32), layers.MaxPooling2D(), layers.Dropout(0.25)),
            *([] if fit.fourth_conv is None else [_conv(64), _conv(64, fit.fourth_conv)]),
            *([] if fit.fourth_conv is None else [layers.MaxPooling2D(), layers.Dropout(0.25)]),
            *(*head, layers.Dense(10, activation="softmax")),
        ]
    )


def _conv(filters: int, padding: str = "same") -> Any:
    return layers.Conv2D(filters, 3, padding=padding, activation="relu")


class EpochTurns(keras.callbacks.Callback):
    """Waits before each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = Turns()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Ends a turn and waits for the next."""
        self.turns.next()


def main(recipe: str, archive: str, steps: int) -> None:
    """Trains until it is stopped."""
    fit = FITS[recipe]
    content = np.load(archive)
    images_NHWC = content["images"][: steps * BATCH].astype("float32") / 255
    targets_NK = keras.utils.to_categorical(content["labels"][: steps * BATCH], 10)
    model = network(fit)
    assert model.count_params() == fit.parameters
    model.compile(loss="categorical_crossentropy", optimizer=keras.optimizers.RMSprop(), metrics=["accuracy"])
    data: dict[str, Any] = {"x": images_NHWC, "y": targets_NK, "batch_size": BATCH}
    if fit.augmentation == "generator":
        # Keras 3 keeps it for old code, under this name alone.
        from keras.src.legacy.preprocessing.image import ImageDataGenerator  # pyright: ignore[reportMissingImports]

        generator = ImageDataGenerator(
            rotation_range=40, width_shift_range=0.2, height_shift_range=0.2, zoom_range=0.2, horizontal_flip=True
        )
        data = {"x": generator.flow(images_NHWC, targets_NK, batch_size=BATCH)}
    model.fit(**data, epochs=1_000_000, verbose=0, callbacks=[EpochTurns()])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
