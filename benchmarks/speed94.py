"""Time to 94 % by `fit` on configs/speed94.yaml, against the time that Keras takes for the 40 epochs of notebook 003's
first fit, which reach 78 %.

    python -m benchmarks.speed94 --data_dir DIR --keras_python PATH [--seed 0]

Both are complete commands, as a user runs them: from the start of Python to the test accuracy, with everything that
`fit` writes. They take turns: one is stopped (SIGSTOP) while the other runs, so that each has the machine for itself in
the same minutes. Only a program's own turns count; Keras's are longer by default so that both end at about the same
time. Takes an hour on two cores; with `--keras_epochs 14`, half of that, and the time of Keras is scaled by 40 / 14.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.table import conditions, table
from benchmarks.training import installed
from benchmarks.turns import ROOT
from src.data import CIFAR10

ALLOWED = 0.5  # of the time of Keras
NOTEBOOK_EPOCHS = 40


class Program:
    """A command that only runs during its turns.

    Attributes:
        seconds: what its turns took until now.
        output: where its lines go.
    """

    def __init__(self, command: list[str], output: Path, environ: dict[str, str] | None = None) -> None:
        self.seconds, self.output = 0.0, output
        self._command, self._environ = command, {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def turn(self, seconds: float) -> bool:
        """Lets it run for so long, or until it has ended; whether it goes on."""
        began = time.perf_counter()
        if self._process is None:
            with self.output.open("wb") as output:
                self._process = subprocess.Popen(
                    self._command, cwd=ROOT, env=self._environ, stdout=output, stderr=output, start_new_session=True
                )
        else:
            os.killpg(self._process.pid, signal.SIGCONT)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGSTOP)
        self.seconds += time.perf_counter() - began
        if self._process.returncode:
            raise RuntimeError(f"{' '.join(self._command)} failed:\n{self.output.read_text()[-2000:]}")
        return self._process.returncode is None

    def stop(self) -> None:
        """Ends it, if it has not ended."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", default="data", help="where CIFAR-10 lies")
    parser.add_argument("--keras_python", required=True, help="a Python that has keras")
    parser.add_argument("--backend", default="tensorflow", choices=["tensorflow", "jax", "torch"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--turns", type=float, nargs=2, default=[20, 50], help="seconds of ours and of Keras's")
    parser.add_argument("--keras_epochs", type=int, default=NOTEBOOK_EPOCHS, help="that are run")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        run, archive = Path(folder) / "run", Path(folder) / "cifar10.npz"
        (images_NHWC, labels_N), (test_images_NHWC, test_labels_N) = (
            (images_NHWC.numpy(), labels_N.numpy())
            for images_NHWC, labels_N in map(CIFAR10(arguments.data_dir).read, ("train", "test"))
        )
        np.savez(archive, images=images_NHWC, labels=labels_N, test_images=test_images_NHWC, test_labels=test_labels_N)
        ours = Program(
            [
                *(sys.executable, "-m", "src", "fit", "--config=configs/speed94.yaml"),
                *(f"--seed_everything={arguments.seed}", f"--data.data_dir={arguments.data_dir}"),
                f"--data.cache_dir={folder}/cache",
                *(f"--trainer.default_root_dir={run}", "--trainer.enable_progress_bar=false"),
            ],
            Path(folder) / "ours.txt",
        )
        keras = Program(
            [arguments.keras_python, "-m", "benchmarks.keras_notebook", str(archive), str(arguments.keras_epochs)],
            Path(folder) / "keras.txt",
            {"KERAS_BACKEND": arguments.backend, "TF_CPP_MIN_LOG_LEVEL": "2"},
        )
        going = dict(zip((ours, keras), arguments.turns, strict=True))
        try:
            while going:
                going = {program: seconds for program, seconds in going.items() if program.turn(seconds)}
                print(f"fit {ours.seconds:,.0f} s, Keras {keras.seconds:,.0f} s", flush=True)
        finally:
            ours.stop()
            keras.stop()
        accuracy = json.loads((run / "results.json").read_text())["test"]["test/acc"]
        theirs = float(keras.output.read_text().splitlines()[-1])
    whole = keras.seconds * NOTEBOOK_EPOCHS / arguments.keras_epochs
    rows = [
        [f"fit, seed {arguments.seed}", f"{accuracy:.4f}", f"{ours.seconds:,.0f}"],
        [f"Keras, {arguments.backend}, {arguments.keras_epochs} epochs", f"{theirs:.4f}", f"{keras.seconds:,.0f}"],
    ]
    print(f"\n{table(['program', 'test accuracy', 'seconds'], rows)}")
    print(f"\n{ours.seconds / whole:.2f} of the time of Keras's {NOTEBOOK_EPOCHS} epochs, ", end="")
    print(f"at most {ALLOWED} claimed where the processor has AMX.")
    print(conditions(*installed(arguments.keras_python)))


if __name__ == "__main__":
    main()
