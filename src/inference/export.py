"""Exports an `ImageClassifier`, after comparing what was written with it on real images.

Shapes: B images, H rows, W columns, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from src.data.storage.decode import decode
from src.data.storage.disk import exclusive
from src.errors import UserError
from src.inference.exported_file import SUFFIXES, Exported, Format, save
from src.inference.image_classifier import ImageClassifier
from src.inference.quantization import quantize

LIMIT = 1e-4  # of the largest difference of a probability
INT8_AGREEMENT = 0.95  # least fraction of images of the same class, in place of that limit


class Comparison(NamedTuple):
    """The exported network against the original one."""

    images: int
    largest: float  # difference of a probability
    agreeing: int  # images whose most probable class, or whose classes above the threshold, are the same


def export(
    classifier: ImageClassifier,
    output: Path,
    form: Format,
    images: Iterator[Tensor],
    metadata: dict[str, Any],
    load: Callable[[Path], Exported],
    calibration: Iterator[Tensor] | None = None,
) -> Comparison:
    """Writes a file that takes decoded images of any size, uint8 (B, H, W, 3), and returns probabilities (B, K).

    Args:
        classifier: on the CPU.
        output: is replaced only if the comparison passes.
        form: `onnx`; `torch-export`, an archive of torch.export; or `safetensors`, the weights, with a JSON file next
            to them that has class path and arguments of the network.
        images: on which it is compared, each uint8 (1, H, W, 3).
        metadata: is saved in the file as JSON.
        load: reads the file again.
        calibration: images by which an `onnx` file is quantized to 8 bits.

    Raises:
        UserError: if the network cannot be exported; if a probability differs by more than `LIMIT` or a class differs;
            or, after quantization, if the classes of fewer than `INT8_AGREEMENT` of the images agree.
    """
    if output.suffix != SUFFIXES[form]:
        raise UserError(f"output {output} must end in {SUFFIXES[form]}, by which the format {form} is recognized")
    with exclusive(output) as folder:
        part = folder / output.name
        save(classifier, part, metadata)
        if calibration:
            quantize(part, calibration)
        compared = compare(classifier, load(part).probabilities, images)
        agrees = f"has the same class on {compared.agreeing:,} of {compared.images:,} images"
        if calibration and compared.agreeing < INT8_AGREEMENT * compared.images:
            raise UserError(
                f"the network of 8 bits {agrees}; at least {INT8_AGREEMENT:.0%} are needed, so nothing is written. "
                "Export it without --quantize"
            )
        if not calibration and (compared.largest > LIMIT or compared.agreeing < compared.images):
            raise UserError(
                f"the exported network {agrees}, and differs by up to {compared.largest:.2g} in a probability; all and "
                f"{LIMIT:g} are the limits, so nothing is written"
            )
        for file in folder.iterdir():
            file.replace(output.parent / file.name)
    return compared


def compare(original: ImageClassifier, exported: Callable[[Tensor], Tensor], images: Iterator[Tensor]) -> Comparison:
    """Compares two networks on batches of images. Raises UserError if there are none."""
    count, largest, agreeing = 0, 0.0, 0
    with torch.inference_mode():
        for images_BHWC in images:
            expected_BK, found_BK = original(images_BHWC), exported(images_BHWC)
            count += len(images_BHWC)
            largest = max(largest, (expected_BK - found_BK).abs().max().item())
            same_B = original.spec.predicted(expected_BK) == original.spec.predicted(found_BK)
            agreeing += int(same_B.reshape(len(same_B), -1).all(1).sum())
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
