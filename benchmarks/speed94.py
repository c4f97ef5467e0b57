"""Time to 94 % of `fit` with configs/speed94.yaml, against Keras's 40 epochs of notebook 003's first fit (to 78 %).

    python -m benchmarks.speed94 --data_dir DIR --keras_python PATH [--seed 0]

Both are complete commands, from the start of Python to the test accuracy, with everything that `fit` writes. They take
turns: one is stopped (SIGSTOP) while the other runs, so that both are measured on an idle machine in the same minutes.
Only the turns of a program count; those of Keras are longer, so that both end at about the same time. Takes an hour on
two cores, with `--keras_epochs 14` half of that: the time of Keras is then multiplied by 40 / 14.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks import report
from benchmarks.training import BACKENDS, keras_environ, keras_versions, write_archive
from benchmarks.turns import ROOT

ALLOWED = 0.5  # of the time of Keras
NOTEBOOK_EPOCHS = 40


class Program:
    """A command that runs during its turns only.

    Args:
        command: the command, run in the folder of the project.
        output: file for its stdout and stderr.
        environ: environment variables in addition to those of this process.

    Attributes:
        seconds: duration of its turns until now.
    """

    def __init__(self, command: list[str], output: Path, environ: Mapping[str, str] | None = None) -> None:
        self.seconds, self.output = 0.0, output
        self._command, self._environ = command, {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def turn(self, seconds: float) -> bool:
        """Runs it for `seconds` or until it ends, and returns whether it is still running."""
        started = time.perf_counter()
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
        self.seconds += time.perf_counter() - started
        if self._process.returncode:
            raise RuntimeError(f"{' '.join(self._command)} failed:\n{self.output.read_text()[-2000:]}")
        return self._process.returncode is None

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--keras_python", required=True, help="a Python that has keras")
    parser.add_argument("--backend", default="tensorflow", choices=BACKENDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--turns", type=float, nargs=2, default=[20, 50], help="seconds of a turn of fit and of Keras")
    parser.add_argument("--keras_epochs", type=int, default=NOTEBOOK_EPOCHS)
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        run, archive = Path(folder) / "run", Path(folder) / "cifar10.npz"
        write_archive(arguments.data_dir, archive)
        fit = Program(
            [
                *(sys.executable, "-m", "src", "fit", "--config=configs/speed94.yaml"),
                *(f"--seed_everything={arguments.seed}", f"--data.data_dir={arguments.data_dir}"),
                *(f"--data.cache_dir={folder}/cache", f"--trainer.default_root_dir={run}"),
                "--trainer.enable_progress_bar=false",
            ],
            Path(folder) / "fit.txt",
        )
        keras = Program(
            [arguments.keras_python, "-m", "benchmarks.keras_side", str(archive), str(arguments.keras_epochs)],
            Path(folder) / "keras.txt",
            keras_environ(arguments.backend),
        )
        running = dict(zip((fit, keras), arguments.turns, strict=True))
        try:
            while running:
                running = {program: seconds for program, seconds in running.items() if program.turn(seconds)}
                print(f"fit {fit.seconds:,.0f} s, Keras {keras.seconds:,.0f} s", flush=True)
        finally:
            fit.stop()
            keras.stop()
        accuracy = json.loads((run / "results.json").read_text())["test"]["test/acc"]
        keras_accuracy = float(keras.output.read_text().splitlines()[-1])
    ratio = fit.seconds / (keras.seconds * NOTEBOOK_EPOCHS / arguments.keras_epochs)
    name = f"Keras, {arguments.backend}, {arguments.keras_epochs} epochs"
    rows = [
        [f"fit, seed {arguments.seed}", f"{accuracy:.4f}", f"{fit.seconds:,.0f}"],
        [name, f"{keras_accuracy:.4f}", f"{keras.seconds:,.0f}"],
    ]
    print(f"\n{report.table(['program', 'test accuracy', 'seconds'], rows)}")
    print(f"\n{ratio:.2f} of the time of Keras's {NOTEBOOK_EPOCHS} epochs; at most {ALLOWED} is claimed with AMX.")
    print(report.conditions(keras_versions(arguments.keras_python)))


if __name__ == "__main__":
    main()
