"""The notebooks' fits that differ in the computation of a step. Imports only the standard library, like `turns`."""

from __future__ import annotations

from typing import Literal, NamedTuple

BATCH = 128


class Fit(NamedTuple):
    """A network and its augmentation.

    Attributes:
        fourth_conv: of the deep network; None is the simple network.
        augmentation: `layers` are Keras 3's preprocessing layers, `generator` is `ImageDataGenerator`.
        parameters: number of parameters, which both sides assert.
    """

    fourth_conv: Literal["valid", "same"] | None
    augmentation: Literal["layers", "generator"] | None
    parameters: int


FITS = {  # by recipe in configs/notebooks; 001_second computes the same as 003_second, 003_first as 001_first
    "002_simple": Fit(None, None, 4_200_842),
    "001_first": Fit("valid", None, 1_676_842),
    "000_deep_augmented": Fit("valid", "layers", 1_676_842),
    "003_second": Fit("valid", "generator", 1_676_842),
    "004_deep_same": Fit("same", "generator", 2_168_362),
}
SHORT = ("002_simple", "000_deep_augmented")
