"""What the files of a run say about it, read without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src.errors import first_line
from src.runtime import file_format, run_directory
from src.studies.flat_config import flatten

# What else is among the metrics of an epoch: the place of the checkpoint, and learning rates.
_NO_METRICS = ("epoch", "step", "lr-")


@dataclass
class RunRecord:
    """A run."""

    directory: Path
    recipe: str  # the name of the folder that holds it
    state: str = "died"  # `running`, `stopped` (by a signal), `finished`, or `died`
    started: str | None = None  # the time of its first start, in ISO 8601
    epochs: int | None = None  # that it has completed
    steps: int = 0  # of the optimizer
    seconds: float | None = None  # of training, over all resumes, up to the last epoch that was completed
    # Of the best weights, where there is validation; else of the last; and of the test.
    metrics: dict[str, float | None] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)  # with dotted keys
    manifest: dict[str, Any] = field(default_factory=dict)  # what it ran on, see `src.runtime.manifest`
    damaged: list[str] = field(default_factory=list)  # one line for each file that could not be read

    @property
    def name(self) -> str:
        """`recipe/run`, as the option --run takes it."""
        return f"{self.recipe}/{self.directory.name}"

    def columns(self) -> dict[str, Any]:
        """What every run has."""
        return {
            "run": self.name,
            **{key: getattr(self, key) for key in ("recipe", "state", "started", "epochs", "seconds")},
        }

    def values(self) -> dict[str, Any]:
        """Everything by which runs are selected and sorted."""
        return {**self.columns(), **self.metrics, **self.config}


def read(directory: Path) -> RunRecord:
    """Reads a run; a file that is damaged is listed, and hides none of the others."""
    record = RunRecord(directory, directory.absolute().parent.name)
    config = _content(record, run_directory.CONFIG, file_format.read_config)
    record.config = {key: value for key, value in flatten(config).items() if key != file_format.ENTRY}
    record.manifest = _content(record, run_directory.MANIFEST, _read_json)
    record.started = record.manifest.get("started")
    results = _content(record, run_directory.RESULTS, _read_json)
    fit = results.get("fit", {})
    record.epochs, record.steps, record.seconds = fit.get("epochs"), fit.get("steps", 0), fit.get("seconds")
    # A test by another command counts if it evaluated the run as it is configured.
    later = [one for one in results.get("evaluations", []) if not one.get("differs")]
    found = {**fit.get("last", {}), **fit.get("best", {}), **(results.get("test") or (later[-1] if later else {}))}
    numbers = {name: value for name, value in found.items() if isinstance(value, int | float) or value is None}
    record.metrics = {name: value for name, value in numbers.items() if not name.startswith(_NO_METRICS)}
    # Runs of earlier versions have no state, and their results were written when training ended.
    state = fit.get("state", "finished" if fit else "running")
    record.state = "running" if run_directory.is_held(directory) else "died" if state == "running" else state
    return record


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def _content(record: RunRecord, name: str, read_file: Any) -> dict[str, Any]:
    path = record.directory / name
    try:
        content = read_file(path) if path.is_file() else {}
        if not isinstance(content, dict):
            raise ValueError("it is not a mapping")
        return content
    except Exception as error:  # whatever is in the file
        record.damaged.append(f"{path} cannot be read: {first_line(error)} ({type(error).__name__})")
        return {}
