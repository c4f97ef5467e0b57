"""The notebooks' fits that differ in what a step computes. Needs the standard library alone, as `turns` does."""

from __future__ import annotations

from typing import Literal, NamedTuple

BATCH = 128


class Fit(NamedTuple):
    """A network and how its images are augmented.

    Attributes:
        fourth_conv: of the deep network; none is the simple one.
        augmentation: `layers` are Keras 3's, `generator` is `ImageDataGenerator`.
        parameters: what both sides must have.
    """

    fourth_conv: Literal["valid", "same"] | None
    augmentation: Literal["layers", "generator"] | None
    parameters: int


FITS = {  # by the recipe in configs/notebooks; 001_second computes what 003_second does, 003_first what 001_first does
    "002_simple": Fit(None, None, 4_200_842),
    "001_first": Fit("valid", None, 1_676_842),
    "000_deep_augmented": Fit("valid", "layers", 1_676_842),
    "003_second": Fit("valid", "generator", 1_676_842),
    "004_deep_same": Fit("same", "generator", 2_168_362),
}
SHORT = ("002_simple", "000_deep_augmented")
