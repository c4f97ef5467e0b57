"""The trained network of a run, from its checkpoint alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from src.classifier import SPEC
from src.cli.faults import is_fault
from src.cli.parser import Parser
from src.data.image_spec import ImageSpec
from src.errors import UserError
from src.inference.image_classifier import ImageClassifier
from src.runtime import run_directory
from src.runtime.checkpoint_file import check_same_network, read
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
    """Loads the best weights of a run, the last where it has no best; RUN@last are its last.

    Raises:
        UserError: if there is none, it was not made by the command line, or its network cannot be built.
    """
    path = run_directory.find_weights(reference)
    content = read(path)
    if path.parent.name == run_directory.CHECKPOINTS:
        add_module_folders(path.parents[1])
    for entry, of in {"config": "configuration, as it was made from Python", SPEC: "names of classes"}.items():
        if entry not in content:
            raise UserError(f"{path} has no {of}; train a run by `python -m src fit`")
    net, config = _net(content["config"]["model"]), content["config"]
    weights = {
        name.removeprefix("net."): value for name, value in content["state_dict"].items() if name.startswith("net.")
    }
    check_same_network(net.state_dict(), weights, str(path))
    net.load_state_dict(weights)
    return TrainedRun(ImageClassifier(net, ImageSpec(**content[SPEC])), config, path)


def _net(model: dict[str, Any]) -> nn.Module:
    parser = Parser()
    parser.add_argument("--net", type=nn.Module)
    try:
        net = parser.instantiate(parser.parse_object({"net": model["net"]})).net
    except (ValueError, TypeError, RuntimeError, AssertionError, ImportError) as error:
        if is_fault(error):
            raise
        parser.error(str(error), error)
    if model.get("channels_last", True):
        net.to(memory_format=torch.channels_last)
    return net
