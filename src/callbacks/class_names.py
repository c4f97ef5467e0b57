"""The names of the classes.

Shapes: B images, K classes.
"""

from __future__ import annotations

from lightning import Trainer
from torch import Tensor


def class_names(trainer: Trainer, num_classes: int) -> list[str]:
    """`classes` of the data module, or the numbers of the classes where it has none."""
    data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
    # The name of a class may have been a file name that is not UTF-8.
    names = (str(name).encode(errors="backslashreplace").decode() for name in getattr(data, "classes", ()))
    return list(names) or [str(number) for number in range(num_classes)]


def names_of(labels_B: Tensor, names: list[str], without: str = "none") -> list[str]:
    """The name of each image's class; of an image that can have several, (B, K), those that it has, or `without`."""
    if labels_B.dim() == 1:
        return [names[label] for label in labels_B.tolist()]
    rows = [[name for name, has in zip(names, row, strict=True) if has] for row in labels_B.tolist()]
    return [";".join(row) or without for row in rows]
