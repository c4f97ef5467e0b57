"""The results of recipes in one small file: a row for each run, to which runs of other days and machines are added."""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from src.errors import UserError, first_line
from src.runtime import run_directory
from src.studies.flat_config import as_text
from src.studies.run_record import RunRecord
from src.studies.study import PREDICTIONS

METRICS = ("acc", "map")  # the accuracy, or the mean average precision where an image can have several classes

Configuration = dict[str, Any]

# The keys of `trainer` on which the weights depend; the others are about the machine, or about what is shown.
_TRAINING = (
    *("max_epochs", "max_steps", "max_time", "limit_train_batches", "limit_val_batches", "overfit_batches"),
    *("accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm", "check_val_every_n_epoch"),
    *("val_check_interval", "test_checkpoint", "default_callbacks.data_dependent_init.num_images"),
    *("default_callbacks.checkpoints.monitor", "default_callbacks.checkpoints.mode"),
)
_PLACES = ("data.data_dir", "data.cache_dir", "data.urls", "data.seed")
_DATASET = "data.sha256"  # of the training images, which a recipe does not state


@dataclass
class Result:
    """A run of a recipe that is finished and tested."""

    recipe: str  # the path of its file
    seed: int
    started: str  # the time of its first start, in ISO 8601
    configuration: str  # the digest of what its weights depend on
    metrics: dict[str, float]  # of the best weights; `map` where images can have several classes
    seconds: float | None  # of training, wall clock; None if it was resumed on other hardware
    images: int  # that were trained on, over all epochs
    multiply_adds: int | None  # of the forward pass of one image; None if the operations of the network are unknown
    hardware: dict[str, Any]  # that of manifest.json, with the number of processes
    precision: str
    packages: dict[str, str]
    commits: list[str]  # of the start and each resume, with a `+` if files differed from it


@dataclass
class RecipeResults:
    """The content of the file."""

    recipes: list[str] = field(default_factory=list)  # the paths of their files, in the order of the table
    configurations: dict[str, Configuration] = field(default_factory=dict)  # by their digests
    runs: list[Result] = field(default_factory=list)  # in the order of recipe and seed

    def of(self, recipe: str) -> list[Result]:
        return [run for run in self.runs if run.recipe == recipe]

    def add(self, result: Result, configuration: Configuration) -> bool:
        """Returns false where the same run was there, which is replaced."""
        known = {(run.recipe, run.seed, run.started): run for run in self.runs}
        key = (result.recipe, result.seed, result.started)
        self.runs = sorted({**known, key: result}.values(), key=self._place)
        self.configurations[result.configuration] = configuration
        return key not in known

    def _place(self, run: Result) -> tuple[int, int, str]:
        return self.recipes.index(run.recipe), run.seed, run.started


def read(path: Path) -> RecipeResults:
    """The content of a file; nothing where there is none. Raises UserError if it is damaged."""
    if not path.is_file():
        return RecipeResults()
    try:
        content = json.loads(path.read_text())
        return RecipeResults(content["recipes"], content["configurations"], [Result(**run) for run in content["runs"]])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a file of results: {first_line(error)}; restore it, or remove it") from error


def write(path: Path, results: RecipeResults) -> None:
    """Writes one line per run and per configuration, so that a difference in git is one of runs."""
    used = {run.configuration for run in results.runs}
    configurations = [f"{json.dumps(key)}: {json.dumps(results.configurations[key])}" for key in sorted(used)]
    runs = [json.dumps(asdict(run)) for run in results.runs]
    text = f'{{"recipes": {json.dumps(results.recipes, indent=1)},\n"configurations": {{\n' + ",\n".join(configurations)
    run_directory.write_text(path, text + '\n},\n"runs": [\n' + ",\n".join(runs) + "\n]}\n")


def recipe_of(record: RunRecord, recipes: Collection[str]) -> str | None:
    """The recipe, among those given, of which a run is: by the name of the first file in its command."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-c", "--config", action="append")
    files = parser.parse_known_args(shlex.split(record.manifest.get("command", "")))[0].config
    name = Path(files[0]).stem if files else record.recipe
    return next((recipe for recipe in recipes if Path(recipe).stem == name), None)


def configuration(config: Mapping[str, Any], dataset: str | None = None) -> Configuration:
    """What the weights of a run depend on, besides its seed and the rounding of its hardware: keys of its flat
    configuration, and the checksum of its training images."""
    names = [f"trainer.{name}" for name in _TRAINING]
    found = {
        key: value
        for key, value in config.items()
        if (key.startswith(("model.", "data")) and key not in _PLACES) or key in names
    }
    found["model.init_from"] = config.get("model.init_from") is not None  # a run, wherever it is
    shown = PREDICTIONS.rpartition(".")[2]  # what `study` adds
    callbacks = [name for name in (config.get("trainer.callbacks") or "").split(", ") if name not in ("", shown)]
    found["trainer.callbacks"] = ", ".join(callbacks)
    found |= {key: value for key, value in config.items() if key.startswith("trainer.callbacks.")}
    return found | ({_DATASET: dataset} if dataset else {})


def differences(found: Configuration, expected: Configuration, stated: Collection[str] = ()) -> list[str]:
    """What differs in a run from its recipe, one text per key. A key that only one of them has is an argument that was
    added or removed since, and does not count unless it is one of those that the recipe states."""
    return [
        f"{key} {as_text(found.get(key))} instead of {as_text(value)}"
        for key, value in expected.items()
        if (key in found or key in stated) and found.get(key) != value
    ]


def result_of(record: RunRecord, recipe: str, multiply_adds: int | None) -> tuple[Result, Configuration]:
    """The row of a run that is finished and tested, and its configuration."""
    manifest, config = record.manifest, record.config
    starts = [manifest, *manifest.get("resumed", [])]
    moved = any(one.get("hardware") != manifest.get("hardware") for one in starts)
    commits = [git["commit"][:7] + "+" * bool(git.get("changed")) for one in starts if (git := one["git"])["commit"]]
    own = configuration(config, manifest.get("data", {}).get("train", {}).get("sha256"))
    digest = hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:8]
    names = [f"{subset}/{name}" for subset in ("test", "val") for name in (*METRICS, "loss")]
    batch = config.get("data.batch_size", 0) * (config.get("trainer.accumulate_grad_batches") or 1)
    result = Result(
        recipe=recipe,
        seed=config["seed_everything"],
        started=record.started or "",
        configuration=digest,
        metrics={name: value for name in names if (value := record.metrics.get(name)) is not None},
        seconds=None if moved else record.seconds,
        images=record.steps * batch,
        multiply_adds=multiply_adds,
        hardware={**manifest.get("hardware", {}), "processes": manifest.get("processes", 1)},
        precision=manifest.get("precision", ""),
        packages={name: manifest.get("packages", {}).get(name, "") for name in ("torch", "lightning")},
        commits=list(dict.fromkeys(commits)),
    )
    return result, own
