"""A configuration as one level of dotted keys, as on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class ClassPath(str):
    """The class path of a value that is a class."""

    @property
    def name(self) -> str:
        """The class without its module."""
        return self.rpartition(".")[2]


def flatten(value: Any, key: str = "") -> dict[str, Any]:
    """Dotted keys without `class_path`, `init_args` and `dict_kwargs`: `model.net` is the class path, and
    `model.net.width` an argument.

    A list of classes is one text of their names, and the arguments of each stand under its name:
    `data.augment` is `Flip, Shift`, and `data.augment.Shift.pixels` an argument.
    """
    return dict(_items(value, key))


def _items(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and "class_path" in value:
        yield key, ClassPath(value["class_path"])
        yield from _items({**(value.get("init_args") or {}), **(value.get("dict_kwargs") or {})}, key)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _items(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        classes = [ClassPath(item.get("class_path", "")) for item in value if isinstance(item, dict)]
        yield key, ", ".join(path.name for path in classes)
        for item, path in zip(value, classes, strict=False):
            yield from _items(item.get("init_args") or {}, f"{key}.{path.name}")
    else:
        yield key, value


def as_text(value: Any) -> str:
    """A value as it is written on the command line; a class by its name."""
    if isinstance(value, ClassPath):
        return value.name
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
