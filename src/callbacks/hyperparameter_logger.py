"""TensorBoard's page HPARAMS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.tensorboard import SummaryWriter

from src.callbacks.display_only import display_only
from src.callbacks.tensorboard import summary_writer


class HyperparameterLogger(Callback):
    """Logs what a recipe or the command line sets (`settings` of the module) when training starts. TensorBoard's page
    HPARAMS shows it, what differs between runs first, with the best val/acc, test/acc, test/loss, the number of
    parameters and the seconds of training; of images with several classes val/map and test/map.

    The page shows all scalars of a run as columns, so these have a run of their own, the folder `hparams` of the
    run directory.
    """

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not (settings := getattr(pl_module, "settings", None)):
            return
        with display_only("the page HPARAMS"):
            for logger in trainer.loggers:
                if not isinstance(logger, TensorBoardLogger):
                    logger.log_hyperparams(settings)
            parameters = sum(weights.numel() for weights in pl_module.parameters())
            _write(trainer, {"parameters": parameters}, settings)

    @rank_zero_only
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        with display_only("the metrics of the page HPARAMS"):
            best = getattr(trainer.checkpoint_callback, "best", None) or {}
            results = Path(trainer.default_root_dir) / "results.json"
            training = json.loads(results.read_text()).get("fit", {}) if results.is_file() else {}
            values = {f"{name}_best_val": best.get(f"val/{name}") for name in ("acc", "map")}
            _write(trainer, {**values, "seconds": training.get("seconds")})

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = trainer.callback_metrics  # reduced over all ranks, so all of them read it
        with display_only("the metrics of the page HPARAMS"):
            _write(trainer, {f"{name}_test": metrics.get(f"test/{name}") for name in ("acc", "map", "loss")})


def _write(trainer: Trainer, metrics: dict[str, Any], settings: dict[str, Any] | None = None) -> None:
    # `tensorboard.plugins.hparams.api`, which has the same function, needs TensorFlow.
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    if not summary_writer(trainer):
        return
    directory = Path(trainer.default_root_dir)
    with SummaryWriter(directory / "hparams") as writer:
        if settings:
            # Without an experiment's summary, TensorBoard takes the columns from all runs.
            name = "/".join(directory.absolute().parts[-2:])
            writer.file_writer.add_summary(hparams_pb(settings, trial_id=name))  # pyright: ignore[reportOptionalMemberAccess]
        for name, value in metrics.items():
            if value is not None:
                writer.add_scalar(f"values/{name}", float(value), trainer.global_step)


def flatten(config: dict[str, Any]) -> dict[str, Any]:
    """A nested configuration with dotted keys: `{"net": {"class_path": "a.B", "init_args": {"size": 3}}}` is
    `{"net": "B", "net.size": 3}`. A list is one text, as are true, false and null."""
    return dict(_flat(config, ""))


def _flat(config: Any, name: str) -> Iterator[tuple[str, Any]]:
    arguments = config
    if isinstance(config, dict) and "class_path" in config:
        yield name, _text({"class_path": config["class_path"]})
        arguments = {**(config.get("init_args") or {}), **(config.get("dict_kwargs") or {})}
    if isinstance(arguments, dict):
        for key, value in arguments.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))
    else:
        number = isinstance(config, int | float) and not isinstance(config, bool)
        yield name, config if number else _text(config)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, dict) and "class_path" in value:
        arguments = ", ".join(f"{key}={_text(own)}" for key, own in (value.get("init_args") or {}).items())
        return value["class_path"].rpartition(".")[2] + (f"({arguments})" if arguments else "")
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
