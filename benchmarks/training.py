"""Images/s of the notebooks' fits: `fit` with everything on, a plain PyTorch loop, and Keras 3.

    python -m benchmarks.training --data_dir DIR [--keras_python PATH] [--precisions 32-true]

`PATH` is a Python that has Keras 3 and its backends, for example of an environment made by
`python3 -m venv keras && keras/bin/pip install keras scipy tensorflow-cpu jax torch`. Keras computes in float32, which
is its default; `fit` and the loop in each of `--precisions`, side by side with it. Turns are epochs of `--steps` steps
of 128 images, without validation on any side.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.fit_side import fit_side
from benchmarks.notebooks import BATCH, FITS, SHORT
from benchmarks.table import conditions, table
from benchmarks.turns import Side, measure, ratio
from src.data import CIFAR10
from src.runtime.precision import native_precision

PRECISIONS = tuple(dict.fromkeys((native_precision(), "32-true")))
BACKENDS = ("tensorflow", "jax", "torch")


def sides(recipe: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Side]:
    """Every program that trains one recipe."""
    more = [f"--data.data_dir={arguments.data_dir}"]
    if recipe == "003_second":
        more.append("--model.init_from=null")  # it begins with the weights of another run
    found = {}
    for precision in arguments.precisions:
        directory, own = folder / f"run-{recipe}-{precision}", [*more, f"--trainer.precision={precision}"]
        found[f"fit, {precision}"] = fit_side(f"configs/notebooks/{recipe}.yaml", directory, arguments.steps, *own)
        loop = [sys.executable, "-m", "benchmarks.pytorch_side", recipe, arguments.data_dir, precision]
        found[f"PyTorch, {precision}"] = Side([*loop, str(arguments.steps)])
    for backend in arguments.backends if arguments.keras_python else ():
        keras = [arguments.keras_python, "-m", "benchmarks.keras_side", recipe, str(folder / "cifar10.npz")]
        environ = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
        found[f"Keras, {backend}"] = Side([*keras, str(arguments.steps)], environ)
    return found


def row(recipe: str, precision: str, seconds: dict[str, list[float]], steps: int) -> list[object]:
    """Images/s of each side, and how many times as fast `fit` is as the loop and as the fastest Keras."""
    ours, loop = seconds[f"fit, {precision}"], seconds[f"PyTorch, {precision}"]
    keras = [took for name, took in seconds.items() if name.startswith("Keras")]
    rates = [f"{steps * BATCH / statistics.median(took):,.0f}" for took in (ours, loop, *keras)]
    return [
        recipe,
        precision,
        *rates,
        ratio(ours, loop),
        *([min(ratio(ours, took) for took in keras)] if keras else []),
    ]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", default="data", help="where CIFAR-10 lies")
    parser.add_argument("--keras_python", help="a Python that has keras; without it Keras is left out")
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

    header = ["recipe", "precision", "fit", "PyTorch"]
    versions: list[str] = []
    if arguments.keras_python:
        versions = installed(arguments.keras_python)
        header += [f"Keras, {backend}" for backend in arguments.backends]
    header += ["fit / PyTorch", *(["fit / fastest Keras"] if arguments.keras_python else [])]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        if arguments.keras_python:
            images_NHWC, labels_N = CIFAR10(arguments.data_dir).read("train")
            np.savez(Path(folder) / "cifar10.npz", images=images_NHWC.numpy(), labels=labels_N.numpy())
        for recipe in arguments.recipes:
            seconds = measure(sides(recipe, Path(folder), arguments), arguments.rounds, clock=arguments.clock)
            for precision in arguments.precisions:
                rows.append(row(recipe, precision, seconds, arguments.steps))
                print(*rows[-1], flush=True)
    how = f"Keras in float32, {arguments.clock} clock"
    print(f"\nImages/s, {how}, {arguments.rounds} rounds of {arguments.steps} steps\n")
    print(table(header, rows))
    print(f"\n{conditions(*versions)}")
    if not arguments.keras_python:
        print("Keras was left out; give a Python that has it by KERAS_PYTHON=... (make) or --keras_python.")


def installed(python: str) -> list[str]:
    """Versions of Keras and its backends."""
    names = ("keras", "tensorflow", "tensorflow_cpu", "jax", "torch")
    code = (
        "from importlib import metadata as m\n"
        f"found = [(d.name, d.version) for d in m.distributions() if d.name.replace('-', '_') in {names}]\n"
        "print(', '.join(sorted({f'{n} {v}' for n, v in found})))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return [f"there {done.stdout.strip()}"]


if __name__ == "__main__":
    main()
