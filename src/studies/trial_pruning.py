"""Ends a run of a sweep whose validation is worse than that of others."""

from __future__ import annotations

from pathlib import Path

import optuna  # pyright: ignore[reportMissingImports]
from lightning import Callback, LightningModule, Trainer

from src.runtime import ranks
from src.runtime.run_checkpoints import run_checkpoints_of
from src.studies.optuna_study import PRUNED, open_study, trial_of


class TrialPruning(Callback):
    """Reports the metric of the first validation of each epoch to the study of Optuna's, whose pruner may end the run;
    all ranks end it together.

    The number of the trial and the directory of the sweep are those of the run directory,
    `logs/<sweep>/trial-<number>`. What is decided before an interruption is not decided again.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The first rank opens the study."""
        self._metric = run_checkpoints_of(trainer)[0].monitor
        if trainer.is_global_zero:
            directory = Path(trainer.default_root_dir)
            # A sampler without state: this process proposes nothing.
            self._study = open_study(directory.parent, optuna.samplers.RandomSampler())
            self._number = int(directory.name.rpartition("-")[2])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        value = trainer.callback_metrics.get(self._metric)  # reduced over all ranks, so all of them read it
        prunes = trainer.is_global_zero and value is not None and self._prunes(trainer.current_epoch, float(value))
        if ranks.all_reduce_max(trainer, int(prunes)):
            trainer.should_stop = True

    def _prunes(self, epoch: int, value: float) -> bool:
        known = self._study.get_trials(deepcopy=False)[self._number]
        if known.last_step is not None and epoch < known.last_step:  # validated again after an interruption
            return False
        trial = trial_of(self._study, self._number)
        if epoch != known.last_step:
            trial.report(value, epoch)
        if not trial.should_prune():
            return False
        trial.set_user_attr(PRUNED, epoch)
        print(
            f"pruned after epoch {epoch + 1}, since {self._metric} {value:.4f} is worse than in other trials",
            flush=True,
        )
        return True
