"""Keras 3 as the notebooks use it. Runs in a Python that has keras.

    KERAS_BACKEND=... python -m benchmarks.keras_side ARCHIVE RECIPE STEPS  # a side whose turns are epochs
    KERAS_BACKEND=... python -m benchmarks.keras_side ARCHIVE EPOCHS        # the first fit of notebook 003

ARCHIVE is written by `benchmarks.training.write_archive`. The last line of the second form is the test accuracy.
"""

from __future__ import annotations

import sys
from typing import Any

import keras  # pyright: ignore[reportMissingImports]
import numpy as np
from keras import layers  # pyright: ignore[reportMissingImports]

from benchmarks.notebooks import BATCH, FITS, Fit
from benchmarks.turns import Turns


def compiled(fit: Fit) -> Any:
    """The network of a notebook, with its augmentation if that consists of layers."""
    augment = [
        layers.RandomFlip("horizontal"),
        layers.RandomRotation(0.05),
        layers.RandomZoom(0.1),
        layers.RandomTranslation(0.1, 0.1),
    ]
    deep = fit.fourth_conv is not None
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            *(augment if fit.augmentation == "layers" else []),
            *([_conv(32)] if deep else []),
            *(_conv(32), layers.MaxPooling2D(), layers.Dropout(0.25)),
            *([_conv(64), _conv(64, fit.fourth_conv), layers.MaxPooling2D(), layers.Dropout(0.25)] if deep else []),
            *(layers.Flatten(), layers.Dense(512, activation="relu"), layers.Dropout(0.5)),
            layers.Dense(10, activation="softmax"),
        ]
    )
    assert model.count_params() == fit.parameters
    model.compile(loss="categorical_crossentropy", optimizer=keras.optimizers.RMSprop(), metrics=["accuracy"])
    return model


def _conv(filters: int, padding: str | None = "same") -> Any:
    return layers.Conv2D(filters, 3, padding=padding, activation="relu")


class EpochTurns(keras.callbacks.Callback):
    """Ends a turn at the start of each epoch, and waits for the next."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = Turns()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.turns.next()


def read(archive: str, prefix: str = "", n: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The first n images, scaled to [0, 1], and their labels, one-hot."""
    content = np.load(archive)
    images_NHWC = content[f"{prefix}images"][:n].astype("float32") / 255
    return images_NHWC, keras.utils.to_categorical(content[f"{prefix}labels"][:n], 10)


def side(archive: str, recipe: str, steps: int) -> None:
    fit = FITS[recipe]
    images_NHWC, targets_NK = read(archive, n=steps * BATCH)
    data: dict[str, Any] = {"x": images_NHWC, "y": targets_NK, "batch_size": BATCH}
    if fit.augmentation == "generator":
        # Keras 3 keeps it for old code, only under this name.
        from keras.src.legacy.preprocessing.image import ImageDataGenerator  # pyright: ignore[reportMissingImports]

        generator = ImageDataGenerator(
            rotation_range=40, width_shift_range=0.2, height_shift_range=0.2, zoom_range=0.2, horizontal_flip=True
        )
        data = {"x": generator.flow(images_NHWC, targets_NK, batch_size=BATCH)}
    compiled(fit).fit(**data, epochs=1_000_000, verbose=0, callbacks=[EpochTurns()])


def notebook(archive: str, epochs: int) -> None:
    model = compiled(FITS["001_first"])
    model.fit(*read(archive), batch_size=BATCH, epochs=epochs, validation_split=0.2, verbose=2)
    print(model.evaluate(*read(archive, "test_"), batch_size=BATCH, verbose=0)[1])


if __name__ == "__main__":
    if len(sys.argv) > 3:
        side(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    else:
        notebook(sys.argv[1], int(sys.argv[2]))
