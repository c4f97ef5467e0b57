"""The arguments of the subcommands that use a trained network, parsed without importing torch."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from src.cli.number import above_zero, at_least
from src.cli.overview import SUBCOMMANDS

_RUN = "a directory in logs, a recipe for its latest run, RUN@last, or a checkpoint file"
_PREDICT = """Files that cannot be read are listed with their reasons, and the exit code is 3.
Without PATH, the test set of the run's data is predicted, into predictions.csv in the run directory; the other
arguments are then those of `python -m src test`."""
_EXPORT = """The file takes decoded images, uint8 (B, H, W, 3) of any size, and returns probabilities: resize, crop and
normalization are in it, class names and configuration in its metadata. It is written after a comparison with the
run's network on images: refused if a class differs, or a probability by more than 1e-4; after --quantize, if less than
95 % of the classes agree."""
_DEMO = """The page shows the classes with their probabilities and, by Grad-CAM, what in the image speaks for the first.
A file is deleted when it has been classified. Ctrl-C ends the server."""


def predict() -> argparse.ArgumentParser:
    """`--run RUN PATH...` or `--exported FILE PATH...`"""
    parser = _parser("predict", "--run RUN [PATH ...]", _PREDICT)
    network = parser.add_mutually_exclusive_group(required=True)
    _add_run(network)
    network.add_argument(
        "--exported",
        metavar="FILE",
        type=_path,
        help="a .onnx, .pt2 or .safetensors file of `export` instead",
    )
    parser.add_argument("paths", metavar="PATH", nargs="*", help="a file, a folder with all images in it, or a pattern")
    parser.add_argument("--list", metavar="FILE", help="a file with one PATH per line; - is the standard input")
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=_path,
        help="a .csv, .jsonl or .parquet file (default: file_predictions.csv in the run directory)",
    )
    parser.add_argument(
        "--top_k",
        metavar="K",
        type=int,
        help="the K most probable classes of an image (default: 1, or all where an image can have several)",
    )
    parser.add_argument(
        "--batch_size", metavar="B", type=at_least(1, "--batch_size"), default=64, help="images per step (default: 64)"
    )
    parser.add_argument(
        "--num_workers",
        metavar="N",
        type=at_least(0, "--num_workers"),
        default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        help="processes that decode; 0 decodes in this one (default: the number of cores)",
    )
    parser.add_argument(
        "--max_pixels",
        metavar="N",
        type=at_least(1, "--max_pixels"),
        default=178_956_970,
        help="of a file; one of more is not read",
    )
    parser.add_argument(
        "--white",
        metavar="VALUE",
        type=above_zero("--white"),
        help="becomes white in images of more than 8 bits (default: as in training, else by the values of each file)",
    )
    return parser


def export() -> argparse.ArgumentParser:
    """`--run RUN --format FORMAT`"""
    parser = _parser("export", "--run RUN --format FORMAT [PATH ...]", _EXPORT)
    _add_run(parser, required=True)
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="*",
        help="images to compare on: files, folders, patterns (default: the validation images of the run)",
    )
    parser.add_argument(
        "--compare_images",
        metavar="N",
        type=at_least(1, "--compare_images"),
        default=1000,
        help="at most this many images (default: 1000)",
    )
    parser.add_argument("--quantize", choices=("int8",), help="8-bit weights and inputs of layers, for onnx")
    parser.add_argument("--format", choices=("onnx", "torch-export", "safetensors"), required=True, help="of the file")
    parser.add_argument("--output", metavar="FILE", type=_path, help="(default: export/ in the run directory)")
    return parser


def demo() -> argparse.ArgumentParser:
    """`--run RUN`"""
    parser = _parser("demo", "--run RUN", _DEMO)
    _add_run(parser, required=True)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in (default: 127.0.0.1)")
    parser.add_argument("--port", type=at_least(0, "--port"), default=7860, help="(default: 7860)")
    parser.add_argument(
        "--max_upload", metavar="MB", type=at_least(1, "--max_upload"), default=20, help="largest file (default: 20)"
    )
    return parser


def _parser(name: str, usage: str, epilog: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        f"python -m src {name}",
        f"python -m src {name} {usage} [--KEY VALUE ...]",
        SUBCOMMANDS[name],
        epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _add_run(parser: argparse._ActionsContainer, required: bool = False) -> None:
    parser.add_argument("--run", metavar="RUN", required=required, type=os.path.expanduser, help=_RUN)


def _path(text: str) -> Path:
    return Path(text).expanduser()


PARSERS = {"predict": predict, "export": export, "demo": demo}
