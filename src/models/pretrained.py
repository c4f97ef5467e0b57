"""Networks with pretrained weights of timm and torchvision: their head, and the normalization of their images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torchvision
from torch import nn

Normalization = tuple[tuple[float, ...], tuple[float, ...]]  # mean and std of each channel


def takes_weights(net: Any) -> bool:
    """Whether a network, as its class path and arguments, is built with pretrained weights: by `weights` of
    torchvision, `checkpoint_path` of timm, or `pretrained` of any function."""
    return bool(weight_arguments(net))


def weight_arguments(net: Any) -> dict[str, Any]:
    """The arguments by which such a network gets its weights, with the values by which it is built without them."""
    return {name: neutral for _, name, neutral in _weight_arguments(net)}


def without_weights(net: Any) -> None:
    """Changes the arguments of such a network, so that it is built without them, and nothing is downloaded."""
    for arguments, name, neutral in list(_weight_arguments(net)):
        arguments[name] = neutral


def _weight_arguments(net: Any) -> Iterator[tuple[Any, str, Any]]:
    """Those given, with where they stand, and the value that builds the network without pretrained weights."""
    package = net["class_path"].split(".")[0]
    neutral = {
        "pretrained": False,
        **{"torchvision": {"weights": None}, "timm": {"checkpoint_path": ""}}.get(package, {}),
    }
    for arguments in (net.get("init_args"), net.get("dict_kwargs")):
        for name, value in neutral.items():
            if arguments and arguments.get(name):
                yield arguments, name, value


def fit_head(net: Any, num_classes: int) -> str | None:
    """Replaces the last layer of a network of timm or torchvision that has not one output per class, as that of
    pretrained weights; returns what was replaced.

    A network has a method `reset_classifier(num_classes)`, as those of timm have, or is one of torchvision's.
    """
    if hasattr(net, "reset_classifier") and getattr(net, "num_classes", num_classes) != num_classes:
        before = net.num_classes
        net.reset_classifier(num_classes)
        return f"the head of {before} outputs"
    if not type(net).__module__.startswith("torchvision."):
        return None
    name, head = [pair for pair in net.named_modules() if isinstance(pair[1], nn.Linear | nn.Conv2d)][-1]
    parent = net.get_submodule(name.rpartition(".")[0])
    if isinstance(head, nn.Linear) and head.out_features != num_classes:
        setattr(parent, name.rpartition(".")[2], nn.Linear(head.in_features, num_classes))
        return f"{name} of {head.out_features} outputs"
    if isinstance(head, nn.Conv2d) and head.out_channels != num_classes:  # SqueezeNet
        setattr(parent, name.rpartition(".")[2], nn.Conv2d(head.in_channels, num_classes, head.kernel_size))  # pyright: ignore[reportArgumentType]
        return f"{name} of {head.out_channels} outputs"
    return None


def pretrained_normalization(net: nn.Module, class_path: str = "") -> Normalization | None:
    """How the images were normalized on which a network was pretrained; None if that is not known.

    Args:
        net: the network; those of timm have an attribute `pretrained_cfg`.
        class_path: of the function of torchvision that built the network.
    """
    if class_path.startswith("torchvision.models."):
        weights: Any = torchvision.models.get_model_weights(class_path.rpartition(".")[2])
        presets = weights.DEFAULT.transforms()
        return tuple(presets.mean), tuple(presets.std)
    config: Any = getattr(net, "pretrained_cfg", None)
    return (tuple(config["mean"]), tuple(config["std"])) if config else None
