"""Kills a study or a sweep where its runs are, instead of after some seconds."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

from lightning import Callback

HOLD, HELD = Path("hold"), Path("held")  # in the folder of the study
CALLBACK = "--trainer.callbacks+=tests.kills.Hold"


class Hold(Callback):
    """Holds a run at a place, as long as the file `hold` names it: `step 3` is the start of the third step of this
    process, `saving 2` its second checkpoint between its two renames, when last.ckpt does not exist; likewise
    `validation` and `test`."""

    def __init__(self) -> None:
        self._visits = Counter[str]()

    def _visit(self, place: str) -> None:
        self._visits[place] += 1
        if HOLD.is_file() and HOLD.read_text() == f"{place} {self._visits[place]}":
            HELD.touch()
            while HOLD.exists():
                time.sleep(0.01)

    def on_fit_start(self, *args: Any, **kwargs: Any) -> None:
        replace = Path.replace

        def held(path: Path, target: Path) -> Path:
            if Path(target).name == "last.ckpt":
                self._visit("saving")
            return replace(path, target)

        setattr(Path, "replace", held)  # noqa: B010 (its type is of no interest)

    def on_train_batch_start(self, *args: Any, **kwargs: Any) -> None:
        self._visit("step")

    def on_validation_end(self, *args: Any, **kwargs: Any) -> None:
        self._visit("validation")

    def on_test_batch_start(self, *args: Any, **kwargs: Any) -> None:
        self._visit("test")


def kill(process: subprocess.Popen[bytes], folder: Path, place: str, how: str, output: Path, line: str) -> None:
    """Ends a study or a sweep, and its run, at a place.

    Args:
        process: the study, just started.
        folder: in which it was started, with `hold`, see `hold_at`.
        place: where a run is held, or `between`: when `line` has been printed once more.
        how: `both` or `study` are killed, or only the `run` first; or the name of a signal that the study passes on.
        output: of the study.
        line: a regular expression for the end of a run.
    """
    before = len(re.findall(line, output.read_text()))
    while process.poll() is None and not (
        len(re.findall(line, output.read_text())) > before if place == "between" else (folder / HELD).exists()
    ):
        time.sleep(0.01)
    assert process.poll() is None, f"it has ended before {place}: {output.read_text()[-2000:]}"
    if how == "run":  # the study reports it, and begins the next one
        _kill(_children(process))
        (folder / HOLD).unlink(missing_ok=True)
        time.sleep(1)
    if how in ("both", "run", "study"):
        runs = _children(process)
        process.kill()
        _kill(runs if how != "study" else [])
    else:
        process.send_signal(signal.Signals[how])
    for path in (HOLD, HELD):
        (folder / path).unlink(missing_ok=True)
    assert process.wait(120) == {"SIGTERM": 143, "SIGINT": 130}.get(how, -9)


def hold_at(folder: Path, place: str) -> None:
    """Makes the next run that comes to a place wait there."""
    if place != "between":
        (folder / HOLD).write_text(place)


def _children(process: subprocess.Popen[bytes]) -> list[int]:
    return [int(one) for one in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def _kill(processes: list[int]) -> None:
    for one in processes:
        os.kill(one, signal.SIGKILL)
