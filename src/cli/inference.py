"""`python -m src predict|export|demo --run RUN`: what uses a trained network without the data of its run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from src.cli import inference_arguments, trained_run
from src.cli.overview import versions
from src.errors import UserError
from src.inference import exported_file
from src.inference.demo import serve
from src.inference.export import decoded, export
from src.inference.exported_file import SUFFIXES, Exported, sha256
from src.inference.image_classifier import ImageClassifier
from src.inference.image_paths import image_paths, listed
from src.inference.prediction import Probabilities, predict
from src.runtime.job import Job

CALIBRATION_IMAGES = 256  # for the quantization; 1,024 gave the same agreement


def run(arguments: list[str]) -> int | None:
    """Runs a subcommand; returns its exit code, or None if these arguments are for another command line."""
    if arguments[:1] == ["predict"] and {"--run", "--exported"} & {text.partition("=")[0] for text in arguments}:
        parser = inference_arguments.predict()
        given, unknown = parser.parse_known_intermixed_args(arguments[1:])
        if unknown or not (given.paths or given.list):
            if given.run:  # those of LightningCLI
                return None
            parser.error(f"unrecognized arguments: {' '.join(unknown)}" if unknown else "--exported needs PATH")
        _check_alone("predict")
        return _predict(given)
    if arguments[:1] == ["export"]:
        given = inference_arguments.export().parse_intermixed_args(arguments[1:])
        _check_alone("export")
        _export(given)
        return 0
    if arguments[:1] == ["demo"]:
        given = inference_arguments.demo().parse_args(arguments[1:])
        _check_alone("demo")
        trained = trained_run.load(given.run)
        print(f"weights: {trained.checkpoint}", file=sys.stderr)
        serve(trained.classifier, str(trained.directory), given.host, given.port, given.max_upload)
        return 0
    return None


def _predict(given: argparse.Namespace) -> int:
    if given.exported and not given.exported.is_file():
        raise UserError(f"--exported {given.exported} is not a file")
    if given.exported and given.exported.suffix != SUFFIXES["safetensors"]:
        weights, directory = given.exported, given.exported.parent
        probabilities, spec = exported_file.load(weights)
    else:
        trained = trained_run.load(str(given.exported or given.run))
        weights, directory, spec = trained.checkpoint, trained.directory, trained.classifier.spec
        probabilities = _on_accelerator(trained.classifier)
    print(f"weights: {weights}", file=sys.stderr)
    with _places(given) as places:
        counts = predict(
            image_paths(places),
            probabilities,
            spec,
            given.output or directory / "file_predictions.csv",
            top_k=given.top_k,
            batch_size=given.batch_size,
            num_workers=given.num_workers,
            max_pixels=given.max_pixels,
            white=given.white,
        )
    return 3 if counts.bad else 0


def _on_accelerator(classifier: ImageClassifier) -> Probabilities:
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    torch.backends.cudnn.allow_tf32 = False  # its mantissa of 10 bits would show beside an exported file
    classifier = classifier.to(device)
    return lambda images_BSSC: classifier.of_resized(images_BSSC.to(device))


def _export(given: argparse.Namespace) -> None:
    if given.quantize and given.format != "onnx":
        raise UserError(f"--quantize {given.quantize} is for --format onnx, not {given.format}")
    trained = trained_run.load(given.run)
    classifier, checkpoint = trained.classifier, trained.checkpoint
    output = (
        given.output
        or trained.directory / "export" / f"model{'_int8' if given.quantize else ''}{SUFFIXES[given.format]}"
    )
    metadata = {
        "classes": list(classifier.spec.classes),
        "image_spec": asdict(classifier.spec),
        "config": trained.config,
        "version": versions(),
        "checkpoint_sha256": sha256(checkpoint),
    }

    def images(subset: Literal["train", "val"], count: int) -> Iterator[Tensor]:
        if given.paths:
            return islice(decoded(image_paths(given.paths), classifier), count)
        return trained_run.images(trained.config, subset, count)

    calibration = images("train", CALIBRATION_IMAGES) if given.quantize else None
    compared = export(
        classifier, output, given.format, images("val", given.compare_images), metadata, _exported, calibration
    )
    print(
        f"{output}: {compared.agreeing:,} of {compared.images:,} images have the same class as by {checkpoint}, and "
        f"the largest difference of a probability is {compared.largest:.1e}"
    )


def _exported(path: Path) -> Exported:
    if path.suffix != SUFFIXES["safetensors"]:
        return exported_file.load(path)
    classifier = trained_run.load(str(path)).classifier
    return Exported(classifier, classifier.spec)


@contextmanager
def _places(given: argparse.Namespace) -> Iterator[Iterator[str]]:
    """The paths given one by one, then those of the list."""
    if not given.list:
        yield iter(given.paths)
    elif given.list == "-":
        yield chain(given.paths, listed(sys.stdin.buffer))
    else:
        with open(given.list, "rb") as file:
            yield chain(given.paths, listed(file))


def _check_alone(name: str) -> None:
    if Job.of().world_size > 1:
        raise UserError(f"{name} runs in one process; start it without torchrun or srun, each with other files")
