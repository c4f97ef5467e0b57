"""The names of the classes."""

from __future__ import annotations

from lightning import Trainer


def class_names(trainer: Trainer, num_classes: int) -> list[str]:
    """`classes` of the data module, or the numbers of the classes where it has none."""
    data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
    # The name of a class may have been a file name that is not UTF-8.
    names = (str(name).encode(errors="backslashreplace").decode() for name in getattr(data, "classes", ()))
    return list(names) or [str(number) for number in range(num_classes)]
