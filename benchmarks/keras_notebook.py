"""The first fit of notebook 003 in Keras 3, from the images to the test score. Runs in a Python that has keras.

    KERAS_BACKEND=... python -m benchmarks.keras_notebook ARCHIVE EPOCHS

ARCHIVE is an .npz with `images` (N, H, W, C), uint8, and `labels` (N) of training, `test_images` and `test_labels`.
The last line is the test accuracy.
"""

from __future__ import annotations

import sys

import keras  # pyright: ignore[reportMissingImports]
import numpy as np

from benchmarks.keras_side import network
from benchmarks.notebooks import BATCH, FITS


def main(archive: str, epochs: int) -> None:
    """Trains and tests."""
    content = np.load(archive)
    images_NHWC, test_images_NHWC = (content[name].astype("float32") / 255 for name in ("images", "test_images"))
    targets_NK, test_targets_NK = (keras.utils.to_categorical(content[name], 10) for name in ("labels", "test_labels"))
    model = network(FITS["001_first"])
    model.compile(loss="categorical_crossentropy", optimizer=keras.optimizers.RMSprop(), metrics=["accuracy"])
    model.fit(images_NHWC, targets_NK, batch_size=BATCH, epochs=epochs, validation_split=0.2, verbose=2)
    _, accuracy = model.evaluate(test_images_NHWC, test_targets_NK, batch_size=BATCH, verbose=0)
    print(accuracy)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
