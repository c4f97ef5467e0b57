"""Every workaround for a fault or a gap in Lightning, found in 2.6.6, or in jsonargparse, found in 4.53.
tests/runtime/test_lightning_workarounds.py shows each fault, and fails when the workaround is no longer needed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning
import yaml
from jsonargparse import _completions_jsonschema, _typehints
from lightning_utilities.core.enums import StrEnum


def step_plateau_scheduler(trainer: lightning.Trainer) -> None:
    """Lets ReduceLROnPlateau step at the end of an epoch that was resumed in its middle.

    Lightning skips it for as long as the loop is marked as restarting, which is until the next epoch. Its public
    setter sets the opposite where trainer.max_steps ends the training.
    (test_a_plateau_scheduler_misses_the_resumed_epoch)
    """
    trainer.fit_loop._restarting = False


def date_back_epoch(checkpoint: dict[str, Any]) -> None:
    """Marks a checkpoint that was saved at the start of an epoch as saved at the end of the epoch before.

    Lightning takes it for one at the end of the new epoch and skips that on resume.
    (test_a_checkpoint_saved_at_the_start_of_an_epoch_skips_the_epoch)
    """
    progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]
    for counts in (progress["total"], progress["current"]):
        counts["ready"] = counts["started"]
        counts["completed"] = counts["processed"] - 1


def reopen_epoch(checkpoint: dict[str, Any]) -> None:
    """Marks the epoch of a checkpoint as unfinished.

    Lightning counts an epoch that max_steps, max_time or `trainer.should_stop` ends as processed, and on resume skips
    the rest of it. (test_an_epoch_that_max_steps_ends_is_not_continued)
    """
    progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]
    for counts in (progress["total"], progress["current"]):
        counts["processed"] = counts["completed"]


def exchange_max_steps(trainer: lightning.Trainer, max_steps: int) -> int:
    """Sets trainer.max_steps, and returns what it was.

    Where max_steps is set, Lightning takes a checkpoint from between two epochs for one from the middle of an epoch,
    and counts the epoch before it a second time. So max_steps is unset while it restores the progress.
    (test_a_run_by_steps_counts_the_resumed_epoch_twice)
    """
    before = trainer.max_steps
    trainer.fit_loop.epoch_loop.max_steps = max_steps
    return before


class ExplicitConfiguration:
    """A mixin of LightningCLI that keeps hyperparameters stored in a checkpoint from overriding the command line.

    There is no public switch. (tests/cli: test_lightning_still_reads_hyperparameters_from_a_checkpoint)
    """

    def _parse_ckpt_path(self) -> None:
        pass


# What the classes of an earlier class path were given, in words, since the set was last cleared.
dropped: dict[str, None] = {}


def start_from_own_defaults() -> None:
    """Lets a class path that replaces another start from the defaults of its own class.

    jsonargparse keeps all arguments of the replaced class, defaults included, that the new one takes too: an AdamW that
    replaces an RMSprop had its eps. (test_jsonargparse_keeps_arguments_of_a_replaced_class)
    """
    _typehints.discard_init_args_on_class_path_change = _drop_arguments


def _drop_arguments(parser_or_action: Any, previous: Any, value: Any) -> None:
    if not previous or previous.get("class_path") in (None, value["class_path"]):
        return
    previous.pop("dict_kwargs", None)
    if not (arguments := previous.get("init_args")):
        return
    defaults = _typehints.ActionTypeHint.get_class_parser(previous["class_path"], {}).get_defaults()
    names = list(vars(arguments))
    all_given = not vars(defaults).keys() - {*names, "params"}  # as a signature's default does, and a saved config.yaml
    given = [name for name in names if arguments.pop(name) != defaults.get(name) or not all_given]
    if given:
        text = (
            f"{value['class_path']} replaces {previous['class_path']}, whose arguments are dropped: {', '.join(given)}"
        )
        dropped[text] = None


# The default of Timer's `interval` is an enum, which a configuration cannot hold.
# (test_the_arguments_of_timer_cannot_be_saved)
yaml.SafeDumper.add_multi_representer(StrEnum, lambda dumper, value: dumper.represent_str(value.value))


@contextmanager
def describing(prefixes: tuple[str, ...]) -> Iterator[None]:
    """Limits the classes whose arguments jsonargparse's JSON schema describes to those of some packages.

    It describes all imported subclasses of each type, hundreds for torch.nn.Module, and of `type`, for which it fails.
    There is no public switch. (test_jsonargparse_cannot_describe_all_classes)
    """
    module: Any = _completions_jsonschema
    every = module.get_all_subclass_paths

    def of_packages(kind: type, *args: Any, **kwargs: Any) -> list[str]:
        names = [] if issubclass(kind, type) else every(kind, *args, **kwargs)
        return [name for name in names if name.startswith(prefixes)]

    module.get_all_subclass_paths = of_packages
    try:
        yield
    finally:
        module.get_all_subclass_paths = every


def quieten() -> None:
    """Filters the messages that Lightning logs at each start and that this project prints in its own lines, and
    warnings about Lightning's own calls."""
    repeated = (
        "GPU available",
        "Loading `train_dataloader`",
        "Restoring states",
        "Restored all states",
        "Loaded model weights",
        "TPU available",
        "💡 Tip",
        "Using bfloat16",
        "`Trainer.fit` stopped",
        "Seed set",
        "`weights_only` was",
        "Found current_model_state",
        "Initializing distributed",
        "-----",
        "distributed_backend=",
    )
    for name in ("lightning.pytorch", "lightning.fabric"):
        for handler in logging.getLogger(name).handlers:
            # "[rank: 1] " may precede a message.
            handler.addFilter(lambda record: not record.getMessage().rpartition("] ")[2].startswith(repeated))
    # Lightning calls a torch function that is deprecated.
    warnings.filterwarnings("ignore", "`isinstance\\(treespec, LeafSpec\\)`")
    # `Job` raises where srun is missing; Lightning warns in jobs of one process and in interactive ones, too.
    warnings.filterwarnings("ignore", "The `srun` command is available")
    # Epochs with fewer steps than log_every_n_steps are common with small datasets.
    warnings.filterwarnings("ignore", "The number of training batches")
    # A recipe without validation has no validation batches.
    warnings.filterwarnings("ignore", "Total length of `list` across ranks is zero")
