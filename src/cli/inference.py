"""`python -m src predict|export --run RUN PATH...`: what uses a trained network without the data of its run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from src.cli import inference_arguments, trained_run
from src.cli.overview import versions
from src.errors import UserError
from src.inference import exported_file
from src.inference.export import decoded, export
from src.inference.exported_file import SUFFIXES, Exported, sha256
from src.inference.image_paths import image_paths, listed
from src.inference.prediction import predict
from src.runtime.job import Job


def run(arguments: list[str]) -> int | None:
    """Runs a subcommand; returns its exit code, or None if these arguments are for another command line."""
    if arguments[:1] == ["predict"] and any(argument.partition("=")[0] == "--run" for argument in arguments):
        given, unknown = inference_arguments.predict().parse_known_intermixed_args(arguments[1:])
        if unknown or not (given.paths or given.list):  # those of LightningCLI
            return None
        _check_alone("predict")
        return _predict(given)
    if arguments[:1] == ["export"]:
        given = inference_arguments.export().parse_intermixed_args(arguments[1:])
        _check_alone("export")
        _export(given)
        return 0
    return None


def _predict(given: argparse.Namespace) -> int:
    trained = trained_run.load(given.run)
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    classifier = trained.classifier.to(device)

    def probabilities(images_BSSC: Tensor) -> Tensor:
        return classifier.of_resized(images_BSSC.to(device))

    print(f"weights: {trained.checkpoint}", file=sys.stderr)
    with _places(given) as places:
        counts = predict(
            image_paths(places),
            probabilities,
            classifier.spec,
            given.output or trained.directory / "file_predictions.csv",
            top_k=given.top_k,
            batch_size=given.batch_size,
            num_workers=given.num_workers,
            max_pixels=given.max_pixels,
            white=given.white,
        )
    return 3 if counts.bad else 0


def _export(given: argparse.Namespace) -> None:
    trained = trained_run.load(given.run)
    classifier, checkpoint = trained.classifier, trained.checkpoint
    output = given.output or trained.directory / "export" / f"model{SUFFIXES[given.format]}"
    metadata = {
        "classes": list(classifier.spec.classes),
        "image_spec": asdict(classifier.spec),
        "config": trained.config,
        "version": versions(),
        "checkpoint_sha256": sha256(checkpoint),
    }
    images = decoded(image_paths(given.paths), classifier)
    compared = export(classifier, output, given.format, images, metadata, _exported)
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
