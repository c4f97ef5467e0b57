"""Exports an `ImageClassifier` as one file that needs nothing of this project, after comparing it on real images.

Shapes: B images, H rows, W columns, K classes.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from src.data.storage.decode import decode
from src.errors import UserError, first_line, optional_package
from src.inference.image_classifier import ImageClassifier

Format = Literal["onnx", "torch-export"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torch-export": ".pt2"}
LIMIT = 1e-4  # of the largest difference of a probability
_ONNX = "the format onnx, unlike torch-export,", "onnx onnxruntime onnxscript"
METADATA = "metadata.json"  # the file in a .pt2 archive


class Comparison(NamedTuple):
    """The exported network against the original one."""

    images: int
    largest: float  # difference of a probability
    agreeing: int  # images whose most probable class is the same


def export(
    classifier: ImageClassifier, output: Path, form: Format, images: Iterator[Tensor], metadata: dict[str, Any]
) -> Comparison:
    """Writes a file that takes decoded images of any size, uint8 (B, H, W, 3), and returns probabilities (B, K).

    Args:
        classifier: on the CPU.
        output: the file, which is replaced only if the comparison passes.
        form: `onnx`, or `torch-export`, an archive of torch.export.
        images: on which it is compared, each uint8 (1, H, W, 3).
        metadata: plain values that are saved in the file, as JSON.

    Raises:
        UserError: if the network cannot be exported, or a probability differs by more than `LIMIT`.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_name(f".{output.stem}.part{SUFFIXES[form]}")
    try:
        program = _program(classifier)
        if form == "onnx":
            _save_onnx(program, part, metadata)
        else:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "No complete tensor found")  # of constants, which are complete
                torch.export.save(program, part, extra_files={METADATA: json.dumps(metadata)})
        compared = compare(classifier, load(part), images)
        if compared.largest > LIMIT or compared.agreeing < compared.images:
            raise UserError(
                f"the exported network differs on {compared.images:,} images by up to {compared.largest:.2g} in a "
                f"probability, and agrees in the class of {compared.agreeing:,}; the limit is {LIMIT:g}. Nothing is "
                "written"
            )
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    return compared


def load(path: Path) -> Callable[[Tensor], Tensor]:
    """An exported network, from images (B, H, W, 3) to probabilities (B, K)."""
    if path.suffix == SUFFIXES["torch-export"]:
        return torch.export.load(path).module()
    session = optional_package("onnxruntime", *_ONNX).InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images_BHWC: torch.from_numpy(session.run(None, {"images": images_BHWC.numpy()})[0])


def compare(original: ImageClassifier, exported: Callable[[Tensor], Tensor], images: Iterator[Tensor]) -> Comparison:
    """Compares two networks image by image. Raises UserError if there are none."""
    count, largest, agreeing = 0, 0.0, 0
    with torch.inference_mode():
        for images_BHWC in images:
            expected_BK, found_BK = original(images_BHWC), exported(images_BHWC)
            count += len(images_BHWC)
            largest = max(largest, (expected_BK - found_BK).abs().max().item())
            agreeing += int((expected_BK.argmax(1) == found_BK.argmax(1)).sum())
    if not count:
        raise UserError("there is no image to compare the exported network on; give files or folders")
    return Comparison(count, largest, agreeing)


def decoded(paths: Iterator[str], classifier: ImageClassifier) -> Iterator[Tensor]:
    """The images (1, H, W, 3) of files as an exported network takes them; files that cannot be read are left out."""
    size, white = classifier.preprocessing.stored_size, classifier.spec.white
    for path in paths:
        pixels, _ = decode(path, size, None, white)
        if pixels is not None:
            yield torch.tensor(pixels)[None]


def _program(classifier: ImageClassifier) -> torch.export.ExportedProgram:
    # Two images, since the exporter may take one for a constant; of a size that is no other number of the network.
    example_BHWC = torch.zeros(2, 53, 61, 3, dtype=torch.uint8)
    sizes = {axis: torch.export.Dim(name) for axis, name in enumerate(("batch", "height", "width"))}
    try:
        return torch.export.export(classifier, (example_BHWC,), dynamic_shapes=(sizes,))
    except Exception as error:  # of any type, from the exporter or the network
        raise UserError(
            f"the network cannot be exported: {first_line(error)} ({type(error).__name__}). Use the checkpoint with "
            "`predict --run`"
        ) from error


def _save_onnx(program: torch.export.ExportedProgram, path: Path, metadata: dict[str, Any]) -> None:
    optional_package("onnxscript", *_ONNX)
    exported = torch.onnx.export(
        program, dynamo=True, input_names=["images"], output_names=["probabilities"], verbose=False
    )
    assert exported is not None
    for name, value in metadata.items():
        exported.model.metadata_props[name] = value if isinstance(value, str) else json.dumps(value)
    exported.save(path, external_data=False)
