"""The base class of an augmentation, and the checks that its constructors share.

Shapes: B images, C channels, H rows, W columns, K random numbers per image.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Literal, get_args

from torch import Tensor

Fill = Literal["nearest", "reflect", "constant"]
FILLS: tuple[Fill, ...] = get_args(Fill)


class Augmentation(ABC):
    """An augmentation of a batch.

    It generates no random numbers itself: they are an argument, uniform in [0, 1), one row per image. So the
    augmentation of an image depends on its row alone, and not on its batch.

    Attributes:
        num_uniforms: K, the random numbers that one image needs.
        resample_each_epoch: whether they are sampled again in each epoch; if not, an image keeps its own for the run.
    """

    num_uniforms: int
    resample_each_epoch: bool = True

    @abstractmethod
    def __call__(self, images_BCHW: Tensor, uniform_BK: Tensor, epoch: int) -> Tensor:
        """Augments float images in [0, 1], before normalization."""


def one_of(name: str, value: Any, known: Iterable[str]) -> Any:
    """The value, or a ValueError if it is not among the known ones."""
    if value not in known:
        raise ValueError(f"{name} {value!r} is unknown; use one of {', '.join(known)}")
    return value


def within(name: str, value: float, low: float, high: float) -> float:
    """The value, or a ValueError if it is outside [low, high]."""
    if not low <= value <= high:
        raise ValueError(f"{name} {value} is outside [{low}, {high}]")
    return value
