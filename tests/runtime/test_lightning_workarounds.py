"""The faults of stock Lightning for which this project has workarounds or parts.

If one of these tests fails, Lightning has fixed the fault, and what its docstring names can be removed.
"""

from __future__ import annotations

import inspect
import os
import re
import signal
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import lightning
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, Timer, WeightAveraging
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from src.runtime import lightning_workarounds
from tests.conftest import ROOT
from tests.toys import CallAt, Interrupted


class Module(LightningModule):
    """Dropout and a linear layer."""

    def __init__(self, plateau: bool = False) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 1))
        self.plateau = plateau

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss = self.net(batch[0]).square().mean()
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val", torch.tensor(1.0))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        if not self.plateau:
            return optimizer
        schedule = {"scheduler": ReduceLROnPlateau(optimizer, patience=0), "monitor": "val", "interval": "epoch"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}


def loader(shuffle: bool = True) -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.arange(32.0).view(8, 4)), batch_size=2, shuffle=shuffle)


def fit(
    directory: Path, *callbacks: Callback, resume: bool = False, module: Module | None = None, **kwargs: Any
) -> Module:
    """Two epochs of four steps, with a checkpoint after each step."""
    lightning.seed_everything(0, verbose=False)
    module = module or Module()
    checkpoints = ModelCheckpoint(directory, save_last=True, every_n_train_steps=1, save_top_k=0)
    trainer = Trainer(
        default_root_dir=directory,
        accelerator="cpu",
        logger=False,
        num_sanity_val_steps=0,
        callbacks=[*callbacks, checkpoints],
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": 2, **kwargs},
    )
    trainer.fit(module, loader(), loader(False), ckpt_path=str(directory / "last.ckpt") if resume else None)
    return module


pytestmark = [
    pytest.mark.filterwarnings(f"ignore:.*{text}")
    for text in (
        "does not have many workers",
        "dataloader is not resumable",
        "exists and is not empty",
        "have no `val_dataloader`",
    )
]


def test_a_run_resumed_within_an_epoch_ends_with_other_weights(tmp_path: Path) -> None:
    """IndexLoader and StepSeed."""
    undisturbed = fit(tmp_path / "undisturbed")
    with pytest.raises(Interrupted):
        fit(tmp_path / "resumed", CallAt("on_train_batch_start", 6))
    resumed = fit(tmp_path / "resumed", resume=True)
    first, second = (next(module.parameters()).detach() for module in (undisturbed, resumed))
    assert not torch.allclose(first, second)


def test_a_plateau_scheduler_misses_the_resumed_epoch(tmp_path: Path) -> None:
    """lightning_workarounds.step_plateau_scheduler."""

    def rate(module: Module) -> float:
        return module.optimizers(use_pl_optimizer=False).param_groups[0]["lr"]  # pyright: ignore

    undisturbed = fit(tmp_path / "undisturbed", module=Module(plateau=True))
    with pytest.raises(Interrupted):
        fit(tmp_path / "resumed", CallAt("on_train_batch_start", 6), module=Module(plateau=True))
    resumed = fit(tmp_path / "resumed", resume=True, module=Module(plateau=True))
    assert (rate(undisturbed), rate(resumed)) == (pytest.approx(0.01), pytest.approx(0.1))


def test_a_checkpoint_saved_at_the_start_of_an_epoch_skips_the_epoch(tmp_path: Path) -> None:
    """lightning_workarounds.date_back_epoch."""

    class AtStart(Callback):
        def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if trainer.current_epoch == 1:
                trainer.save_checkpoint(tmp_path / "start.ckpt")
                raise Interrupted

    with pytest.raises(Interrupted):
        fit(tmp_path, AtStart())
    (tmp_path / "start.ckpt").replace(tmp_path / "last.ckpt")
    resumed = fit(tmp_path, resume=True)
    assert resumed.trainer.global_step == 4  # of 8


def test_an_epoch_that_max_steps_ends_is_not_continued(tmp_path: Path) -> None:
    """lightning_workarounds.reopen_epoch."""
    fit(tmp_path, max_steps=2).trainer.save_checkpoint(tmp_path / "last.ckpt")
    resumed = fit(tmp_path, resume=True)
    assert resumed.trainer.global_step == 6  # of 8


def test_a_run_by_steps_counts_the_resumed_epoch_twice(tmp_path: Path) -> None:
    """lightning_workarounds.exchange_max_steps."""
    fit(tmp_path, max_epochs=1).trainer.save_checkpoint(tmp_path / "last.ckpt")
    resumed = fit(tmp_path, resume=True, max_steps=8)
    assert resumed.trainer.current_epoch == 2
    assert resumed.trainer.global_step == 4  # of 8


def test_the_metrics_of_an_epoch_are_logged_after_its_checkpoint(tmp_path: Path) -> None:
    """RunCheckpoints.on_train_epoch_start."""
    order: list[str] = []

    class Logger(CSVLogger):
        def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
            order.extend(name for name in metrics if name == "loss")

    class OrderedCheckpoint(ModelCheckpoint):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            super().on_train_epoch_end(trainer, pl_module)
            order.append("checkpoint")

    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=Logger(tmp_path),
        callbacks=OrderedCheckpoint(tmp_path, save_top_k=-1, save_on_train_epoch_end=True),
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    trainer.fit(Module(), loader())
    assert order == ["checkpoint", "loss"]


def test_a_flipped_bit_changes_a_weight_without_an_error(tmp_path: Path) -> None:
    """checkpoint_file.read."""
    path = tmp_path / "last.ckpt"
    weight = torch.arange(64.0) + 1000
    torch.save({"state_dict": {"weight": weight}}, path)
    content = bytearray(path.read_bytes())
    content[content.index(weight.numpy().tobytes()) + 2] ^= 1
    path.write_bytes(content)
    assert not torch.equal(torch.load(path, weights_only=True)["state_dict"]["weight"], weight)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip()


def test_three_ranks_evaluate_twelve_of_ten_samples() -> None:
    """IndexLoader and `use_distributed_sampler=False`."""
    ten = TensorDataset(torch.arange(10))
    assert sum(len(list(DistributedSampler(ten, 3, rank, shuffle=False))) for rank in range(3)) == 12


def test_weight_averaging_leaves_the_average_in_the_network(tmp_path: Path) -> None:
    """EMA."""
    trained: list[Tensor] = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
            trained.append(next(pl_module.parameters()).detach().clone())

    module = fit(tmp_path, Watch(), WeightAveraging())
    assert not torch.equal(next(module.parameters()), trained[-1])


TERMINATED = """
from tests.runtime.test_lightning_workarounds import *

fit(Path(sys.argv[1]), CallAt("on_train_batch_start", 2, lambda: signal.raise_signal(signal.SIGTERM)))
"""


@pytest.mark.slow
def test_a_terminated_run_exits_with_code_0(tmp_path: Path) -> None:
    """StopOnSignal."""
    command = [sys.executable, "-W", "ignore", "-c", TERMINATED, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0 != 128 + signal.SIGTERM, done.stderr[-2000:]
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] < 8


def test_every_workaround_names_an_existing_test() -> None:
    named = set(re.findall(r"\btest_\w+(?=\))", Path(lightning_workarounds.__file__).read_text()))
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    assert len(named) >= 6
    assert {name for name in named if f"def {name}(" not in tests} == set()


def test_jsonargparse_keeps_arguments_of_a_replaced_class() -> None:
    """`start_from_own_defaults`, which the command line calls; so this runs in a process of its own."""
    script = """
from jsonargparse import ArgumentParser
class Base: pass
class First(Base):
    def __init__(self, size: int = 1): pass
class Second(Base):
    def __init__(self, size: int = 2): pass
parser = ArgumentParser(exit_on_error=False)
parser.add_subclass_arguments(Base, "part")
print(parser.parse_args(["--part=First", "--part.size=3", "--part=Second"]).part.init_args.size)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["3"]


class Meta(type):
    """A class whose instances are classes, as torch has some."""


def test_jsonargparse_cannot_describe_all_classes() -> None:
    """Remove `describing` of lightning_workarounds, if the schema of all classes is also small."""

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--of_type", type=Meta)
    with pytest.raises(TypeError, match="__subclasses__"):
        parser.get_completion_script("jsonschema")
    with lightning_workarounds.describing(("src.",)):
        assert '"of_type"' in parser.get_completion_script("jsonschema")


def test_the_arguments_of_timer_cannot_be_saved() -> None:
    """Remove the representer of lightning_workarounds."""

    class Plain(yaml.SafeDumper):
        yaml_multi_representers: ClassVar[dict[type, Any]] = {}

    interval = inspect.signature(Timer).parameters["interval"].default
    with pytest.raises(yaml.representer.RepresenterError):
        yaml.dump({"interval": interval}, Dumper=Plain)
    assert yaml.safe_dump({"interval": interval}) == "interval: step\n"


@pytest.mark.parametrize("quiet", [False, True])
def test_the_hint_at_srun_is_hidden(quiet: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the filter of quieten if there is no hint outside of a job."""
    (tmp_path / "srun").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("SLURM_NTASKS", raising=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if quiet:
            lightning_workarounds.quieten()
        Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)
    assert any("`srun` command" in str(warning.message) for warning in caught) is not quiet
