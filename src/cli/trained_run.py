"""The trained network of a run, from its checkpoint alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from src.classifier import SPEC
from src.cli.faults import is_fault
from src.cli.parser import Parser
from src.data import ImageDataModule
from src.data.image_spec import ImageSpec
from src.errors import UserError, first_line
from src.inference.exported_file import SUFFIXES, architecture, sha256
from src.inference.image_classifier import ImageClassifier
from src.models.pretrained import fit_head, without_weights
from src.runtime import run_directory
from src.runtime.checkpoint_file import check_same_network, read
from src.runtime.initial_weights import read_weights
from src.runtime.manifest import add_module_folders


class TrainedRun(NamedTuple):
    """A network with its weights, and where it comes from."""

    classifier: ImageClassifier
    config: dict[str, Any]
    checkpoint: Path

    @property
    def directory(self) -> Path:
        """The run directory, or the folder of a checkpoint that is in none."""
        folder = self.checkpoint.parent
        return folder.parent if folder.name == run_directory.CHECKPOINTS else folder


def load(reference: str) -> TrainedRun:
    """Loads the best weights of a run, the last where it has no best; RUN@last are its last. A checkpoint and a
    .safetensors file of `export` are taken as well.

    Raises:
        UserError: if there is none, it was not made by the command line, or its network cannot be built.
    """
    path = run_directory.find_weights(reference)
    if path.suffix == SUFFIXES["safetensors"]:
        return _load_safetensors(path)
    content = read(path)
    if path.parent.name == run_directory.CHECKPOINTS:
        add_module_folders(path.parents[1])
    for entry, of in {"config": "configuration, as it was made from Python", SPEC: "names of classes"}.items():
        if entry not in content:
            raise UserError(f"{path} has no {of}; train a run by `python -m src fit`")
    weights = {
        name.removeprefix("net."): value for name, value in content["state_dict"].items() if name.startswith("net.")
    }
    classifier = _classifier(content["config"]["model"], weights, ImageSpec(**content[SPEC]), path)
    return TrainedRun(classifier, content["config"], path)


def images(config: dict[str, Any], subset: Literal["train", "val"], count: int) -> Iterator[Tensor]:
    """The first images of a run's training or validation samples, as its network takes them, uint8 (B, H, W, 3)."""
    data: ImageDataModule = _instance(ImageDataModule, "data", config["data"])
    data.prepare_data()
    data.setup("validate")
    indices = (data.train_indices if subset == "train" else data.val_indices)[:count]
    for indices_B in indices.split(64):
        images_BHWC = data.image_set("train").images_NHWC[indices_B]
        yield images_BHWC.expand(-1, -1, -1, 3) if images_BHWC.shape[-1] == 1 else images_BHWC


def _load_safetensors(path: Path) -> TrainedRun:
    try:
        content = json.loads(architecture(path).read_text())
        spec, config = ImageSpec.from_json(content["image_spec"]), content["config"]
        expected, _ = content["weights_sha256"], content["net"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} needs {architecture(path)} next to it, as `python -m src export` writes it: {first_line(error)}"
        ) from error
    if sha256(path) != expected:
        raise UserError(f"{path} is not the file that {architecture(path)} was written with: its checksum differs")
    add_module_folders(path.parents[1])
    weights, _ = read_weights(str(path))
    return TrainedRun(_classifier(content, weights, spec, path), config, path)


def _classifier(model: dict[str, Any], weights: dict[str, Tensor], spec: ImageSpec, path: Path) -> ImageClassifier:
    net = _net(model)
    fit_head(net, len(spec.classes))
    check_same_network(net.state_dict(), weights, str(path))
    net.load_state_dict(weights)
    return ImageClassifier(net, spec)


def _net(model: dict[str, Any]) -> nn.Module:
    without_weights(net := deepcopy(model["net"]))  # they are replaced by those of the checkpoint
    net = _instance(nn.Module, "net", net)
    if model.get("channels_last", True):
        net.to(memory_format=torch.channels_last)
    return net


def _instance(kind: type, name: str, value: Any) -> Any:
    """An object of a class path and arguments, as the configuration has them."""
    parser = Parser()
    parser.add_argument(f"--{name}", type=kind)
    try:
        return parser.instantiate(parser.parse_object({name: value}))[name]
    except (ValueError, TypeError, RuntimeError, AssertionError, ImportError) as error:
        if is_fault(error):
            raise
        parser.error(str(error), error)
