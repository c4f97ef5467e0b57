"""Faults in code of the user's, which keep their traceback, and what libraries raise about arguments."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy

from src.cli import faults
from tests.processes import start

Run = Callable[..., None]
Fails = Callable[..., str]

OWN_CODE = """
import threading
import torch
from lightning import Callback
from torch import nn
from src.data import Shapes
from src.data.augment import Augmentation

def fail(kind):
    if kind == "ValueError": raise ValueError("boom")
    if kind == "TypeError": len(3)
    if kind == "RuntimeError": torch.zeros(2) @ torch.zeros(3)
    if kind == "KeyError": {}["boom"]
    if kind == "AttributeError": torch.boom
    if kind == "FileNotFoundError": open("boom")
    if kind == "ModuleNotFoundError": import boom
    if kind == "ZeroDivisionError": 1 / 0

class Net(nn.Sequential):
    def __init__(self, kind: str):
        fail(kind)

class Forward(nn.Module):
    def __init__(self, kind: str, training: bool = False):
        super().__init__()
        self.layer, self.kind, self.fails = nn.Linear(3, 10), kind, training
    def forward(self, images_BCHW):
        if self.training == self.fails:
            fail(self.kind)
        return self.layer(images_BCHW.mean((2, 3)))

class Data(Shapes):
    def __init__(self, kind: str, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind
    def read(self, subset):
        fail(self.kind)

class Blur(Augmentation):
    num_uniforms = 1
    def __init__(self, kind: str):
        self.kind = kind
    def __call__(self, images_BCHW, uniform_BK, epoch):
        fail(self.kind)

class Hook(Callback):
    def __init__(self, kind: str, hook: str = "on_train_start"):
        setattr(self, hook, lambda *args, **kwargs: fail(kind))

class Optimizer(torch.optim.SGD):
    def __init__(self, params, kind: str):
        fail(kind)
"""

PARTS = {
    "constructor": ["--model.net=own_code.Net", "--model.net.kind"],
    "preflight": ["--model.net=own_code.Forward", "--model.net.kind"],
    "first step": ["--model.net=own_code.Forward", "--model.net.training=true", "--model.net.kind"],
    "data": ["--data=own_code.Data", "--data.kind"],
    "augmentation": ["--data.augment+=own_code.Blur", "--data.augment.kind"],
    "callback": ["--trainer.callbacks+=own_code.Hook", "--trainer.callbacks.kind"],
    "after a step": [
        *("--trainer.callbacks+=own_code.Hook", "--trainer.callbacks.hook=on_train_end"),
        "--trainer.callbacks.kind",
    ],
    "optimizer": ["--model.optimizer=own_code.Optimizer", "--model.optimizer.kind"],
}
KINDS = ["ValueError", "TypeError", "RuntimeError", "KeyError", "AttributeError", "FileNotFoundError"]
KINDS += ["ModuleNotFoundError", "ZeroDivisionError"]


@pytest.fixture
def traceback(cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fails:
    """Runs a command line that must fail by a fault in own_code.py; returns the traceback."""
    (tmp_path / "own_code.py").write_text(OWN_CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_code", raising=False)

    def run(*arguments: str) -> str:
        # As the interpreter does with what `main` does not catch; pytest would show the exception only.
        with pytest.raises(BaseException) as raised:
            cli(*arguments)
        if isinstance(raised.value, SystemExit):
            assert raised.value.code == 1
            return capsys.readouterr().err
        return str(raised.getrepr())

    return run


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        *(("constructor", kind) for kind in KINDS),
        *((part, kind) for part in list(PARTS)[1:] for kind in ("ValueError", "FileNotFoundError")),
    ],
)
def test_a_fault_in_own_code_has_its_traceback(part: str, kind: str, traceback: Fails, tiny: list[str]) -> None:
    *arguments, last = PARTS[part]
    quiet = ["--trainer.default_callbacks.model_summary=null", "--trainer.logger=false"]
    text = traceback("fit", *tiny, *quiet, *arguments, f"{last}={kind}")
    assert "own_code.py" in text
    assert kind in text


@pytest.mark.parametrize("line", ["import boom", "raise ValueError('boom')", "open('boom')", "class Net(:"])
@pytest.mark.parametrize("argument", ["--model.net", "--trainer.callbacks+", "--model.optimizer"])
def test_a_module_that_cannot_be_imported(
    line: str, argument: str, traceback: Fails, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text(line)
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    text = traceback("fit", *tiny, f"{argument}=broken.Net")
    assert "broken.py" in text


def error_of(source: str, path: Path, module: str) -> ValueError:
    """The error of a source text, as a file of a module would raise it."""
    path.write_text(source)
    with pytest.raises(ValueError, match="x") as caught:
        exec(compile(source, str(path), "exec"), {"__name__": module})
    caught.value.__traceback__ = caught.tb.tb_next
    return caught.value


@pytest.mark.parametrize(
    ("source", "module", "fault"),
    [
        ("int('x')", "src.models.cnn", True),
        ("if True:\n    raise ValueError('x')", "src.models.cnn", False),
        ("if True:\n    raise ValueError('x')", "src.models.my_net", True),
        ("raise ValueError('x')", "my_net", True),
    ],
)
def test_a_raise_of_this_project_is_no_fault(source: str, module: str, fault: bool, tmp_path: Path) -> None:
    assert faults.is_fault(error_of(source, tmp_path / f"{tmp_path.name}.py", module)) == fault


class Writer(threading.Thread):
    """Named as a thread of TensorBoard's is."""

    __module__ = "tensorboard.summary.writer"

    def run(self) -> None:
        raise OSError("No space left on device")


def test_only_tensorboards_writer_thread_fails_silently(cli: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli("fit")  # sets the hook
    capsys.readouterr()
    for thread, shown in ((Writer(), False), (threading.Thread(target=open, args=("no_such_file",)), True)):
        thread.start()
        thread.join()
        assert ("Error" in capsys.readouterr().err) == shown


def test_memory_that_runs_out_is_one_paragraph(fails: Fails, tiny: list[str]) -> None:
    text = fails("fit", *tiny, "--trainer.callbacks+=tests.cli.test_faults.RunOutOfMemory")
    assert text == "CUDA out of memory; lower data.batch_size, or use more devices.\n"


def test_memory_that_runs_out_in_the_first_step_is_not_an_argument_that_torch_refuses(
    fails: Fails, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    monkeypatch.setattr(SingleDeviceStrategy, "backward", Mock(side_effect=error))
    assert fails("fit", *tiny) == "CUDA out of memory; lower data.batch_size, or use more devices.\n"


class RunOutOfMemory(Callback):
    """Fails as an allocation on a GPU does."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1 GiB"
        )


class FailOnSecondRank(Callback):
    """Reads a missing file before training."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.global_rank == 1:
            Path("no_such_file").read_text()


@pytest.mark.slow
def test_a_fault_on_another_rank_has_its_traceback(tiny: list[str], tmp_path: Path) -> None:
    two = ["--trainer.devices=2", "--trainer.strategy=ddp", f"--trainer.default_root_dir={tmp_path / 'run'}"]
    process = start(*tiny, *two, "--trainer.callbacks+=tests.cli.test_faults.FailOnSecondRank")
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "test_faults.py" in output and "FileNotFoundError" in output
    assert "error: another rank ended before the first step; see its output." in output
    assert not (tmp_path / "run").exists()
