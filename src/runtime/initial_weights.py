"""The weights that training starts from: of another run, or a file of another package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from src.classifier import SPEC, Classifier
from src.data.image_spec import ImageSpec
from src.errors import UserError, first_line, optional_package, shortened
from src.models.pretrained import pretrained_normalization
from src.runtime.checkpoint_file import differences, load


def load_initial_weights(model: Classifier, source: str) -> list[str]:
    """Loads the weights of a file that fit into a model that starts training, and their normalization; returns what was
    taken, and what was not. Raises UserError if it is not a file of weights, or none of them fits."""
    weights, spec = read_weights(source)
    own = model.state_dict()
    weights = _by_names_of(own, weights)
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    lines = differences(own, weights)
    if not any(name in fitting for name, _ in model.named_parameters()):
        raise UserError(
            f"init_from {source} is of another network than the configured one, no parameter fits: "
            f"{'; '.join(lines[:6])}. Configure the network that it was saved from, or choose another file"
        )
    model.load_state_dict(fitting, strict=False)
    if spec:
        model.normalization = spec.mean, spec.std
    elif not model.normalization:
        model.normalization = pretrained_normalization(model.net)
    names = list(fitting)
    taken = f"{len(names)} of {len(own)} tensors, from {names[0]} to {names[-1]}"
    return [f"init_from {source} gives {taken}", *([f"not taken: {shortened(lines)}"] if lines else [])]


def read_weights(source: str) -> tuple[dict[str, Tensor], ImageSpec | None]:
    """Tensors by their names, and what a checkpoint of this project says of its images.

    Raises:
        UserError: if a file is damaged, contains no weights, or objects that could run code when loaded.
    """
    content = _safetensors(source) if source.endswith(".safetensors") else load(source, zipped=False)
    forms = [content, *(content.get(name) for name in ("state_dict", "model"))] if isinstance(content, dict) else []
    for weights in forms:
        if isinstance(weights, dict) and weights and all(isinstance(value, Tensor) for value in weights.values()):
            return weights, ImageSpec(**content[SPEC]) if isinstance(content.get(SPEC), dict) else None
    raise UserError(f"{source} has no weights: neither tensors by their names, nor an entry state_dict with them")


def _safetensors(source: str) -> dict[str, Any]:
    safetensors = optional_package("safetensors", source)
    try:
        return optional_package("safetensors.torch", source).load_file(source)
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"the weights {source} cannot be read: {first_line(error)}") from error


def _by_names_of(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The weights of a network by the names of a model, of which it is a part: with the first part of each name, as
    DDP's `module`, or without it."""
    first_parts = {"", *(name.split(".")[0] + "." for name in weights)}
    forms = [{f"net.{name.removeprefix(part)}": value for name, value in weights.items()} for part in first_parts]
    return max([weights, *forms], key=lambda form: len(own.keys() & form.keys()))
