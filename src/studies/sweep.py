"""A sweep: trials of one recipe with other values of some keys, proposed by Optuna, each a run in its directory."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import optuna  # pyright: ignore[reportMissingImports]
import yaml
from filelock import FileLock
from optuna.trial import TrialState  # pyright: ignore[reportMissingImports]

from src.errors import UserError
from src.runtime import run_directory
from src.studies import optuna_study, processes, run_record, search_space, sweep_report
from src.studies.flat_config import flatten
from src.studies.kept_inputs import keep
from src.studies.optuna_study import PRUNED, PRUNING, SETTINGS
from src.studies.processes import Claim, Job

UNTESTED = "--test_after_fit=false"  # the test set is for the best trial, once
HOPELESS = 3  # failed trials, without another one
CHECKPOINTS = "trainer.default_callbacks.checkpoints"


@dataclass
class Sweep:
    """Trials, and what they have in common."""

    directory: Path
    recipe: Path
    space: Path  # the file of the search space
    arguments: list[str] = field(default_factory=list)  # of all fits, in addition to the recipe
    sampler: Sequence[str] = ("TPESampler",)  # the name of a class of `optuna.samplers`, and its arguments as KEY=VALUE
    pruner: Sequence[str] = ("MedianPruner",)  # likewise of `optuna.pruners`
    storage: str | None = None  # a URL of Optuna's; None for a file of SQLite in the directory
    seed: int = 0  # of the sampler
    failed: dict[str, str] = field(default_factory=dict)  # by this process, with the end of their output
    interrupted: set[int] = field(default_factory=set)

    def prepare(self) -> None:
        """Checks the keys, keeps recipe and space in the directory, and opens the study. Raises UserError if a file, a
        key or a name is wrong, or the sweep was begun with others."""
        overlays = [Path(one.removeprefix("--config=")) for one in self.arguments if one.startswith("--config=")]
        for path in (self.recipe, *overlays):
            if not path.is_file():
                raise UserError(f"--config {path} is not a file")
        self.values = search_space.read(self.space)
        optuna_study.by_name(optuna.samplers, self.sampler, self.seed)
        optuna_study.by_name(optuna.pruners, self.pruner)
        begun = (self.directory / SETTINGS).is_file()
        known = optuna_study.settings_of(self.directory) if begun else self._check()
        settings = {
            "arguments": self.arguments,
            "sampler": list(self.sampler),
            "pruner": list(self.pruner),
            "storage": self.storage,
            "seed": self.seed,
            "metric": known["metric"],
            "mode": known["mode"],
        }
        given = f"--sampler, --pruner, --storage, --seed or the arguments {shlex.join(self.arguments) or 'none'}"
        inputs = {
            "recipe.yaml": (self.recipe.read_text(), str(self.recipe)),
            "space.yaml": (self.space.read_text(), str(self.space)),
            SETTINGS: (yaml.safe_dump(settings, sort_keys=False), given),
        }
        keep(self.directory, inputs)
        self.metric = settings["metric"]
        with self._lock():
            self.study = optuna_study.open_study(self.directory)

    def _check(self) -> dict[str, str]:
        """Parses the recipe with values of the space; returns the metric that decides which weights of a run are the
        best, and its mode."""
        config = {}
        for values in search_space.examples(self.values):
            command = ["fit", f"--config={self.recipe}", *self.arguments, *search_space.as_arguments(values)]
            done = subprocess.run([*processes.COMMAND, *command, "--print_config"], capture_output=True, text=True)
            if done.returncode:
                text = done.stderr.partition("error: ")[2] or done.stderr
                raise UserError(f"{self.space}: {text.strip().removesuffix('.')}")
            config = flatten(yaml.safe_load(done.stdout))
        return {"metric": config[f"{CHECKPOINTS}.monitor"], "mode": config[f"{CHECKPOINTS}.mode"]}

    def _lock(self) -> FileLock:
        """Of all processes of the sweep, while one claims or proposes a trial."""
        return FileLock(self.directory / ".sweep.lock")

    def run_of(self, number: int) -> Path:
        """The run directory of a trial."""
        return self.directory / f"trial-{number:03}"

    def run(self, trials: int, at_a_time: int) -> None:
        """Runs trials until there are as many, those that were interrupted first."""
        processes.run(self._jobs(trials), at_a_time)

    def _jobs(self, trials: int) -> Iterator[Job]:
        while begun := self._begin(trials):
            number, claim, values = begun
            about = f": {' '.join(search_space.as_arguments(values))}"
            command, ended = self._command(number, values), partial(self._end, number)
            yield Job(self.run_of(number), command, claim, ended, about)

    def _begin(self, trials: int) -> tuple[int, Claim, dict[str, Any]] | None:
        """An interrupted trial that no other process runs, or else a new one."""
        with self._lock():
            for known in self.study.get_trials(deepcopy=False):
                if known.state == TrialState.RUNNING and known.number not in self.interrupted:
                    claim = Claim(self.run_of(known.number))
                    if claim.acquire():
                        if not self._has_ended(known):
                            trial = optuna_study.trial_of(self.study, known.number)
                            return known.number, claim, search_space.suggest(trial, self.values)
                        self._tell(known.number)
                    claim.close()
            known = self.study.get_trials(deepcopy=False)
            hopeless = len(self.failed) >= HOPELESS and all(trial.state == TrialState.FAIL for trial in known)
            if len(known) >= trials or hopeless:
                return None
            trial = self.study.ask()
            claim = Claim(self.run_of(trial.number))
            claim.acquire()
            return trial.number, claim, search_space.suggest(trial, self.values)

    def _has_ended(self, trial: optuna.trial.FrozenTrial) -> bool:
        """Whether its run has nothing left to train, although the study does not know its result yet."""
        return PRUNED in trial.user_attrs or run_record.read(self.run_of(trial.number)).state == "finished"

    def _command(self, number: int, values: dict[str, Any]) -> list[str]:
        directory = self.run_of(number)
        if run_directory.is_resumable(directory):
            return ["fit", f"--resume={directory}", UNTESTED]
        return [
            *("fit", f"--config={self.directory / 'recipe.yaml'}", *self.arguments),
            *search_space.as_arguments(values),
            *(f"--trainer.default_root_dir={directory}", f"--trainer.callbacks+={PRUNING}", UNTESTED),
        ]

    def _end(self, number: int, code: int) -> None:
        name = self.run_of(number).name
        with self._lock():
            if code == 0:
                self._tell(number)
            elif code in (1, 2):
                self._fail(number, processes.last_lines(self.run_of(number)))
            else:
                self.interrupted.add(number)
                print(f"{name} was interrupted (exit code {code}); the same command resumes it", flush=True)
            sweep_report.write(self.directory, self.study)

    def _tell(self, number: int) -> None:
        """Tells the study the result of a run that has ended."""
        name, trial = self.run_of(number).name, self.study.get_trials(deepcopy=False)[number]
        value = run_record.read(self.run_of(number)).metrics.get(self.metric)
        if PRUNED in trial.user_attrs:
            self.study.tell(number, state=TrialState.PRUNED, skip_if_finished=True)
            print(f"{name} is pruned", flush=True)
        elif value is None:
            self._fail(number, f"    {self.metric} is not among its metrics")
        else:
            self.study.tell(number, value, skip_if_finished=True)
            print(f"{name} is finished: {self.metric} {value:.4f}", flush=True)

    def _fail(self, number: int, reason: str) -> None:
        name = self.run_of(number).name
        self.failed[name] = reason
        self.study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
        print(f"{name} failed:\n{reason}", flush=True)
