"""Images/s of the notebooks' fits: `fit` with all defaults, plain PyTorch loops, and Keras 3.

    python -m benchmarks.training --data_dir DIR [--keras_python PATH] [--precisions 32-true]

`PATH` is a Python that has Keras 3 and its backends; see README.md. Keras computes in float32, its default; `fit` and
the loops run in each of `--precisions`. Turns are epochs of `--steps` steps of 128 images, without validation.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import report
from benchmarks.fit_side import fit_side
from benchmarks.notebooks import BATCH, FITS, SHORT
from benchmarks.turns import Side, measure, ratio
from src.data import CIFAR10
from src.runtime.precision import native_precision

PRECISIONS = tuple(dict.fromkeys((native_precision(), "32-true")))
LAYERS = ("torch", "project")  # of the plain loops
BACKENDS = ("tensorflow", "jax", "torch")


def sides(recipe: str, folder: Path, archive: Path, arguments: argparse.Namespace) -> dict[str, Side]:
    """All programs that train a recipe."""
    data = f"--data.data_dir={arguments.data_dir}"
    init = ["--model.init_from=null"] if recipe == "003_second" else []  # not the weights of another run
    result = {}
    for precision in arguments.precisions:
        own = [data, *init, f"--trainer.precision={precision}"]
        config, directory = f"configs/notebooks/{recipe}.yaml", folder / f"run-{recipe}-{precision}"
        result[f"fit, {precision}"] = fit_side(config, directory, arguments.steps, *own)
        loop = [sys.executable, "-m", "benchmarks.pytorch_side", recipe, arguments.data_dir, precision]
        for layers in LAYERS:
            result[f"PyTorch, {layers}, {precision}"] = Side([*loop, str(arguments.steps), layers])
    for backend in arguments.backends if arguments.keras_python else ():
        keras = [arguments.keras_python, "-m", "benchmarks.keras_side", str(archive), recipe, str(arguments.steps)]
        result[f"Keras, {backend}"] = Side(keras, keras_environ(backend))
    return result


def row(recipe: str, precision: str, seconds: dict[str, list[float]], steps: int) -> list[object]:
    """Images/s of each side, and the speed of `fit` relative to each loop and to the fastest Keras."""
    fit, *loops = (seconds[name] for name in (f"fit, {precision}", *(f"PyTorch, {one}, {precision}" for one in LAYERS)))
    keras = [took for name, took in seconds.items() if name.startswith("Keras")]
    rates = [f"{steps * BATCH / statistics.median(took):,.0f}" for took in (fit, *loops, *keras)]
    ratios = [*(ratio(fit, loop) for loop in loops), *([min(ratio(fit, took) for took in keras)] if keras else [])]
    return [recipe, precision, *rates, *ratios]


def write_archive(data_dir: str, path: Path) -> None:
    """Writes CIFAR-10 for `keras_side`: `images` (N, H, W, C), uint8, and `labels` (N); test set with `test_`."""
    data = CIFAR10(data_dir)
    (images_NHWC, labels_N), (test_images_NHWC, test_labels_N) = data.read("train"), data.read("test")
    np.savez(
        path,
        images=images_NHWC.numpy(),
        labels=labels_N.numpy(),
        test_images=test_images_NHWC.numpy(),
        test_labels=test_labels_N.numpy(),
    )


def keras_environ(backend: str) -> dict[str, str]:
    return {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"}


def keras_versions(python: str) -> str:
    """Versions of Keras and its backends."""
    names = ("keras", "tensorflow", "tensorflow_cpu", "jax", "torch")
    code = (
        "from importlib import metadata as m\n"
        f"found = [(d.name, d.version) for d in m.distributions() if d.name.replace('-', '_') in {names}]\n"
        "print(', '.join(sorted({f'{n} {v}' for n, v in found})))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return f"there {done.stdout.strip()}"


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--keras_python", help="a Python that has keras; without it, Keras is not measured")
    parser.add_argument("--backends", nargs="+", default=BACKENDS, choices=BACKENDS)
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=["bf16-mixed", "32-true"])
    parser.add_argument("--recipes", nargs="+", default=list(FITS), choices=list(FITS))
    parser.add_argument("--steps", type=int, default=300, help="of a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clock", default="wall", choices=["wall", "processor"], help="processor: for busy machines")
    parser.add_argument("--short", action="store_true", help="two recipes, three rounds of 40 steps")
    arguments = parser.parse_args()
    if arguments.short:
        arguments.recipes, arguments.steps, arguments.rounds = SHORT, 40, 3

    backends, versions = arguments.backends if arguments.keras_python else (), []
    header = ["recipe", "precision", "fit", "loop, torch's layers", "loop, these layers"]
    header += [*(f"Keras, {backend}" for backend in backends), "fit / torch's layers", "fit / these layers"]
    if arguments.keras_python:
        header.append("fit / fastest Keras")
        versions.append(keras_versions(arguments.keras_python))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "cifar10.npz"
        if arguments.keras_python:
            write_archive(arguments.data_dir, archive)
        for recipe in arguments.recipes:
            programs = sides(recipe, Path(folder), archive, arguments)
            seconds = measure(programs, arguments.rounds, clock=arguments.clock)
            for precision in arguments.precisions:
                rows.append(row(recipe, precision, seconds, arguments.steps))
                print(*rows[-1], flush=True)
    print(f"\n{report.table(header, rows)}\n\nImages/s, Keras in float32, {arguments.clock} clock, ", end="")
    print(f"{arguments.rounds} rounds of {arguments.steps} steps. {report.conditions(*versions)}")
    if not arguments.keras_python:
        print("Keras was not measured; pass a Python that has it with KERAS_PYTHON=... (make) or --keras_python.")


if __name__ == "__main__":
    main()
