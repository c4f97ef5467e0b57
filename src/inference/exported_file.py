"""The file of an exported network, in three formats, by its suffix.

Shapes: B images, H rows, W columns, K classes.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from src.data.image_spec import ImageSpec
from src.errors import UserError, first_line, optional_package
from src.inference.image_classifier import ImageClassifier
from src.inference.quantization import ONNX

Format = Literal["onnx", "torch-export", "safetensors"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torch-export": ".pt2", "safetensors": ".safetensors"}
METADATA = "metadata.json"  # the file in a .pt2 archive


class Exported(NamedTuple):
    """A network without its class."""

    probabilities: Callable[[Tensor], Tensor]  # (B, K) of decoded images, uint8 (B, H, W, 3)
    spec: ImageSpec


def save(classifier: ImageClassifier, path: Path, metadata: dict[str, Any]) -> None:
    """Writes a file. Raises UserError if the network cannot be exported, or a package is missing."""
    {".onnx": _save_onnx, ".pt2": _save_torch_export, ".safetensors": _save_safetensors}[path.suffix](
        classifier, path, metadata
    )


def load(path: Path) -> Exported:
    """Reads a .onnx or .pt2 file of `save`; `src.cli.trained_run.load` reads .safetensors.

    Raises:
        UserError: if it is not such a file.
    """
    try:
        probabilities, metadata = (_load_onnx if path.suffix == ".onnx" else _load_torch_export)(path)
        return Exported(probabilities, ImageSpec.from_json(metadata["image_spec"]))
    except UserError:
        raise
    except Exception as error:  # of any type, from the reader of a damaged file
        raise UserError(f"{path} is not a file of `python -m src export`: {first_line(error)}") from error


def architecture(path: Path) -> Path:
    """The JSON file next to a .safetensors file: class path and arguments of the network, and the metadata."""
    return path.with_suffix(".json")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _save_safetensors(classifier: ImageClassifier, path: Path, metadata: dict[str, Any]) -> None:
    own = classifier.net.state_dict()
    weights = {name: value.clone(memory_format=torch.contiguous_format) for name, value in own.items()}
    package = optional_package("safetensors.torch", "the format safetensors, unlike torch-export,")
    path.write_bytes(package.save(weights))
    model = metadata["config"]["model"]
    content = {"net": model["net"], "channels_last": model["channels_last"], "weights_sha256": sha256(path), **metadata}
    architecture(path).write_text(json.dumps(content, indent=2) + "\n")


def _save_torch_export(classifier: ImageClassifier, path: Path, metadata: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No complete tensor found")  # of constants, which are complete
        torch.export.save(_program(classifier), path, extra_files={METADATA: json.dumps(metadata)})


def _load_torch_export(path: Path) -> tuple[Callable[[Tensor], Tensor], dict[str, Any]]:
    files = {METADATA: ""}
    return torch.export.load(path, extra_files=files).module(), json.loads(files[METADATA])


def _save_onnx(classifier: ImageClassifier, path: Path, metadata: dict[str, Any]) -> None:
    optional_package("onnxscript", *ONNX)
    program = _program(classifier)
    try:
        exported = torch.onnx.export(
            program, dynamo=True, input_names=["images"], output_names=["probabilities"], verbose=False
        )
    except torch.onnx.OnnxExporterError as error:
        raise UserError(f"ONNX cannot express the network: {first_line(error)}. `--format torch-export` can") from error
    assert exported is not None
    for name, value in metadata.items():
        exported.model.metadata_props[name] = value if isinstance(value, str) else json.dumps(value)
    exported.save(path, external_data=False)


def _load_onnx(path: Path) -> tuple[Callable[[Tensor], Tensor], dict[str, Any]]:
    session = optional_package("onnxruntime", *ONNX).InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.get_modelmeta().custom_metadata_map
    return (
        lambda images_BHWC: torch.from_numpy(session.run(None, {"images": images_BHWC.numpy()})[0]),
        {"image_spec": json.loads(found["image_spec"])},
    )


def _program(classifier: ImageClassifier) -> torch.export.ExportedProgram:
    # Two images, since the exporter may take one for a constant; of a size that is no other number of the network.
    example_BHWC = torch.zeros(2, 53, 61, 3, dtype=torch.uint8)
    sizes = {axis: torch.export.Dim(name) for axis, name in enumerate(("batch", "height", "width"))}
    try:
        return torch.export.export(classifier, (example_BHWC,), dynamic_shapes=(sizes,))
    except Exception as error:  # of any type, from the exporter or the network
        raise UserError(
            f"the network cannot be exported: {first_line(error)} ({type(error).__name__}). `--format safetensors` "
            "exports any network: its weights, with class path and arguments as JSON"
        ) from error
