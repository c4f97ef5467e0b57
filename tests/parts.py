"""Optimizers, schedules, networks and callbacks of other packages, by class path: `make parts` trains each for two
epochs and resumes it, and `python -m tests.parts` writes the outcomes to docs/parts.md."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning import Callback, LightningModule, Trainer

from src.cli.main import main
from src.runtime.checkpoint_file import read
from tests.conftest import ROOT

PAGE = ROOT / "docs/parts.md"
PACKAGES = ("timm", "schedulefree", "pytorch_optimizer", "prodigyopt")
TRAINS = "trains, resumes bit-identical"
STOPS = (3, 4)  # steps at which a run is stopped: within an epoch of four steps, and at its end

COMMON = [
    *("--data=Shapes", "--data.train_size=20", "--data.test_size=10", "--data.val_fraction=0.2", "--data.batch_size=4"),
    *("--trainer.max_epochs=2", "--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.logger=false"),
    *("--trainer.default_callbacks.checkpoints.every_n_steps=3", "--trainer.default_callbacks.preview=null"),
    *("--trainer.enable_model_summary=false", "--test_after_fit=false"),
]
SMALL = ["--data.image_size=12", "--model.net=src.models.SimpleCNN", "--model.net.image_size=12"]
SGD = ["--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.01"]


class Snapshot(Callback):
    """Copies the run directory to `step3` and `step4` next to it, as if the run were killed there."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
        directory = Path(trainer.default_root_dir)
        copy = directory.parent / f"step{trainer.global_step}"
        if trainer.global_step in STOPS and not copy.exists():
            shutil.copytree(directory, copy)


def half(step: int) -> float:
    """For schedules that take a function."""
    return 0.5**step


class Part(NamedTuple):
    """What to try.

    Attributes:
        kind: the heading of its table.
        name: its class path.
        arguments: the options that follow the class path, without their prefix: `momentum=0.9`.
        others: other options of the command line.
    """

    kind: str
    name: str
    arguments: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join([self.name, *self.arguments, *self.others])

    def options(self) -> list[str]:
        prefix = {"Optimizers": "model.optimizer", "Schedules": "model.lr_scheduler", "Networks": "model.net"}
        key = prefix.get(self.kind, "trainer.callbacks")
        own = [f"--{key}{'+' * (key == 'trainer.callbacks')}={self.name}"]
        own += [f"--{key}.{argument}" for argument in self.arguments]
        if self.kind == "Networks":
            return [*SGD, "--data.image_size=32", *own, *self.others]
        return [*SMALL, *([] if self.kind == "Optimizers" else SGD), *own, *self.others]


def _parts(kind: str, table: str) -> list[Part]:
    """One line for each part: class path, arguments, and options that begin with `--`."""
    lines = [line.split() for line in table.strip().splitlines()]
    return [
        Part(kind, name, tuple(o for o in rest if o[:2] != "--"), tuple(o for o in rest if o[:2] == "--"))
        for name, *rest in lines
    ]


OPTIMIZERS = """
torch.optim.Adadelta
torch.optim.Adafactor
torch.optim.Adagrad
torch.optim.Adam
torch.optim.AdamW
torch.optim.Adamax
torch.optim.ASGD
torch.optim.LBFGS max_iter=2
torch.optim.LBFGS max_iter=2 --model.channels_last=false
torch.optim.Muon
torch.optim.NAdam
torch.optim.RAdam
torch.optim.RMSprop
torch.optim.Rprop
torch.optim.SGD momentum=0.9 nesterov=true
torch.optim.SparseAdam
src.optim.Muon
timm.optim.AdaBelief
timm.optim.Adan
timm.optim.Lamb
timm.optim.Lars lr=0.1
timm.optim.Lion
timm.optim.MADGRAD
timm.optim.NvNovoGrad
prodigyopt.Prodigy
schedulefree.AdamWScheduleFree
schedulefree.RAdamScheduleFree
schedulefree.SGDScheduleFree lr=0.1
pytorch_optimizer.AdaBound
pytorch_optimizer.CAME
pytorch_optimizer.DAdaptAdam
pytorch_optimizer.Lion
pytorch_optimizer.Ranger21 num_iterations=8
pytorch_optimizer.ScheduleFreeAdamW
pytorch_optimizer.SOAP
pytorch_optimizer.StableAdamW
"""
SCHEDULES = """
src.optim.WarmupDecay warmup=0.3
torch.optim.lr_scheduler.ChainedScheduler
torch.optim.lr_scheduler.ConstantLR
torch.optim.lr_scheduler.CosineAnnealingLR T_max=8
torch.optim.lr_scheduler.CosineAnnealingWarmRestarts T_0=3
torch.optim.lr_scheduler.CyclicLR base_lr=0.001 max_lr=0.1 step_size_up=2 cycle_momentum=false
torch.optim.lr_scheduler.ExponentialLR gamma=0.9
torch.optim.lr_scheduler.LambdaLR lr_lambda=tests.parts.half
torch.optim.lr_scheduler.LinearLR
torch.optim.lr_scheduler.MultiStepLR milestones=[2,5]
torch.optim.lr_scheduler.MultiplicativeLR lr_lambda=tests.parts.half
torch.optim.lr_scheduler.OneCycleLR max_lr=0.1 total_steps=8
torch.optim.lr_scheduler.OneCycleLR max_lr=0.1 total_steps=7
torch.optim.lr_scheduler.PolynomialLR total_iters=8
torch.optim.lr_scheduler.SequentialLR
torch.optim.lr_scheduler.StepLR step_size=3
torch.optim.swa_utils.SWALR swa_lr=0.05
lightning.pytorch.cli.ReduceLROnPlateau monitor=val/loss patience=0
timm.scheduler.CosineLRScheduler t_initial=8
"""
NETWORKS = """
src.models.DeepCNN
src.models.CIFARResNet18
src.models.SpeedNet widths=[24,24,24]
torchvision.models.convnext_tiny num_classes=10
torchvision.models.densenet121 num_classes=10
torchvision.models.efficientnet_b0 num_classes=10
torchvision.models.efficientnet_v2_s num_classes=10
torchvision.models.googlenet num_classes=10 init_weights=false
torchvision.models.googlenet num_classes=10 init_weights=false aux_logits=false
torchvision.models.inception_v3 num_classes=10 init_weights=false --data.image_size=80
torchvision.models.mnasnet0_5 num_classes=10
torchvision.models.mobilenet_v2 num_classes=10
torchvision.models.mobilenet_v3_small num_classes=10
torchvision.models.regnet_y_400mf num_classes=10
torchvision.models.resnet18 num_classes=10
torchvision.models.resnet50 num_classes=10
torchvision.models.resnext50_32x4d num_classes=10
torchvision.models.shufflenet_v2_x0_5 num_classes=10
torchvision.models.squeezenet1_1 num_classes=10
torchvision.models.vit_b_16 num_classes=10
torchvision.models.VisionTransformer num_classes=10 image_size=32 patch_size=8 \
    num_layers=2 num_heads=2 hidden_dim=8 mlp_dim=8
timm.create_model model_name=convnext_atto dict_kwargs.num_classes=10
timm.create_model model_name=efficientnet_lite0 dict_kwargs.num_classes=10
timm.create_model model_name=fastvit_t8 dict_kwargs.num_classes=10
timm.create_model model_name=ghostnet_050 dict_kwargs.num_classes=10
timm.create_model model_name=lcnet_050 dict_kwargs.num_classes=10
timm.create_model model_name=mobilenetv3_small_050 dict_kwargs.num_classes=10
timm.create_model model_name=mobilevit_xxs dict_kwargs.num_classes=10
timm.create_model model_name=mnasnet_small dict_kwargs.num_classes=10
timm.create_model model_name=mobileone_s0 dict_kwargs.num_classes=10
timm.create_model model_name=edgenext_xx_small dict_kwargs.num_classes=10
timm.create_model model_name=test_byobnet dict_kwargs.num_classes=10
timm.create_model model_name=nf_resnet26 dict_kwargs.num_classes=10
timm.create_model model_name=regnetx_002 dict_kwargs.num_classes=10
timm.create_model model_name=repvgg_a0 dict_kwargs.num_classes=10
timm.create_model model_name=res2net50_14w_8s dict_kwargs.num_classes=10
timm.create_model model_name=resnet10t dict_kwargs.num_classes=10
timm.create_model model_name=test_vit dict_kwargs.num_classes=10
timm.create_model model_name=test_vit dict_kwargs.num_classes=10 dict_kwargs.img_size=32
timm.create_model model_name=tinynet_e dict_kwargs.num_classes=10
timm.create_model model_name=vit_tiny_patch16_224 dict_kwargs.num_classes=10 dict_kwargs.img_size=32
"""
CALLBACKS = """
src.callbacks.EMA decay=0.9
lightning.pytorch.callbacks.BackboneFinetuning
lightning.pytorch.callbacks.BatchSizeFinder
lightning.pytorch.callbacks.DeviceStatsMonitor
lightning.pytorch.callbacks.EarlyStopping monitor=val/loss
lightning.pytorch.callbacks.EarlyStopping monitor=val_loss
lightning.pytorch.callbacks.EMAWeightAveraging decay=0.9
lightning.pytorch.callbacks.GradientAccumulationScheduler scheduling={"0":1,"1":2}
lightning.pytorch.callbacks.LambdaCallback
lightning.pytorch.callbacks.LearningRateFinder
lightning.pytorch.callbacks.LearningRateMonitor --trainer.logger=true
lightning.pytorch.callbacks.ModelCheckpoint monitor=val/loss
lightning.pytorch.callbacks.ModelPruning pruning_fn=l1_unstructured
lightning.pytorch.callbacks.ModelSummary max_depth=2
lightning.pytorch.callbacks.OnExceptionCheckpoint dirpath=checkpoints
lightning.pytorch.callbacks.RichModelSummary
lightning.pytorch.callbacks.RichProgressBar
lightning.pytorch.callbacks.StochasticWeightAveraging swa_lrs=0.01
lightning.pytorch.callbacks.ThroughputMonitor batch_size_fn=builtins.len
lightning.pytorch.callbacks.Timer
lightning.pytorch.callbacks.TQDMProgressBar
lightning.pytorch.callbacks.WeightAveraging
"""
PARTS = [
    *_parts("Optimizers", OPTIMIZERS),
    *_parts("Schedules", SCHEDULES),
    *_parts("Networks", NETWORKS),
    *_parts("Callbacks", CALLBACKS),
]


def outcome(part: Part, folder: Path) -> str:
    """Trains a part for two epochs and resumes it; returns TRAINS, or `refused: ` and the paragraph.

    Raises:
        AssertionError: if it is neither.
    """
    snapshot = "--trainer.callbacks+=tests.parts.Snapshot"
    refused = _fit([*COMMON, *part.options(), snapshot, f"--trainer.default_root_dir={folder / 'run'}"])
    if refused:
        assert not (folder / "run").exists(), f"{part} is refused and leaves a directory"
        return f"refused: {refused}"
    expected = _state(folder / "run")
    for step in STOPS:
        assert _fit([f"--resume={folder / f'step{step}'}"]) == "", part
        assert same(_state(folder / f"step{step}"), expected), f"{part} differs, resumed at step {step}"
    return TRAINS


def _fit(arguments: list[str]) -> str:
    """The paragraph of a refusal, or nothing."""
    error = io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(error):
            main(["fit", *arguments])
    except SystemExit as stop:
        text = error.getvalue()
        assert stop.code == 2 and "Traceback" not in text, text[-3000:]
        return " ".join(text[text.rindex("error: ") + len("error: ") :].split())
    return ""


def _state(directory: Path) -> Any:
    checkpoint = read(directory / "checkpoints/last.ckpt")
    return [
        checkpoint.get(entry) for entry in ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers")
    ]


def same(a: Any, b: Any) -> bool:
    """Whether two nested values are bit-identical."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a.nan_to_num(), b.nan_to_num()) and torch.equal(a.isnan(), b.isnan())
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b or (a != a and b != b)


HEAD = f"""# Parts of other packages

Each of these was given by its class path, as in `--model.optimizer torch.optim.Adam`, trained for two epochs on a few
images, and resumed from a stop within an epoch and from one between two. It trains, and resumes with bit-identical
weights and optimizer state, or it is refused before training with the paragraph that stands next to it.

`make parts` tries all of them again, with the packages of the extra `parts`: {", ".join(PACKAGES)}.
`python -m tests.parts` writes this page.
"""


def row(part: Part, result: str) -> str:
    return f"| `{part}` | {result.replace('|', '/')} |"


def page(results: dict[Part, str]) -> str:
    return "\n".join([HEAD, *_sections(results)])


def _sections(results: dict[Part, str]) -> Iterator[str]:
    for kind in dict.fromkeys(part.kind for part in results):
        yield f"## {kind}\n\n| part | outcome |\n| --- | --- |"
        yield from (row(part, result) for part, result in results.items() if part.kind == kind)
        yield ""


def _main() -> None:
    results: dict[Part, str] = {}
    for part in PARTS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                results[part] = outcome(part, Path(folder))
            except Exception as error:
                results[part] = f"FAILS: {' '.join(str(error).split())[-400:]} ({type(error).__name__})"
        print(row(part, results[part]), flush=True)
    if failed := [part for part, result in results.items() if result.startswith("FAILS")]:
        sys.exit(f"{len(failed)} of {len(results)} parts fail; {PAGE} is not written")
    PAGE.write_text(page(results))


if __name__ == "__main__":
    _main()
