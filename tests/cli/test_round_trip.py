"""Properties of the parser: a saved configuration is parsed back to itself and to the same objects, and a class path
that replaces another starts from the defaults of its own class."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from src.cli.doctor.command import DoctorCLI
from tests.conftest import ROOT

RECIPES = ["quickstart.yaml", "cifar10.yaml", "folder.yaml", "notebooks/003_first.yaml"]
NETS = [
    ["SimpleCNN"],
    ["DeepCNN", "fourth_conv=same"],
    ["SpeedNet", "batchnorm_momentum=0.5"],
    ["torchvision.models.resnet18", "zero_init_residual=true"],
    ["TestTimeAugmentation", "net=SimpleCNN", "shift=2"],
]
OPTIMIZERS = [
    ["torch.optim.SGD", "lr=0.5", "momentum=0.25"],
    ["torch.optim.SGD"],
    ["torch.optim.RMSprop"],
    ["torch.optim.AdamW", "betas=[0.5,0.75]"],
    ["torch.optim.Adagrad"],
    ["src.optim.Muon", "lr=0.03125"],
]
SCHEDULERS = [
    ["WarmupDecay", "shape=linear"],
    ["torch.optim.lr_scheduler.StepLR", "step_size=3"],
    ["torch.optim.lr_scheduler.ExponentialLR", "gamma=0.5"],
    ["lightning.pytorch.cli.ReduceLROnPlateau", "monitor=val/loss"],
]
DATA = [
    ["Shapes", "image_seed=3"],
    ["CIFAR10", "data_dir=elsewhere"],
    ["ImageFolder", "data_dir=data/shapes", "mean=[0,0.5,1]"],
]
AUGMENT = [["Flip", "probability=0.25"], ["Shift", "pixels=3"], ["Cutout"]]
CALLBACKS = [
    ["EarlyStopping", "monitor=val/acc", "patience=7"],
    ["EMA"],
    ["tests.toys.SendInTest", "number=1"],
]
PARTS = {"model.net": NETS, "model.optimizer": OPTIMIZERS, "model.lr_scheduler": SCHEDULERS, "data": DATA}


@pytest.fixture(autouse=True)
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two classes in data/shapes, the folder of configs/folder.yaml."""
    monkeypatch.chdir(tmp_path)
    for name in ("circle", "square"):
        Path("data/shapes", name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(f"data/shapes/{name}/1.png")


def arguments(key: str, spec: list[str]) -> list[str]:
    """`--key=class_path --key.name=value ...`"""
    return [f"--{key}={spec[0]}", *(f"--{key.removesuffix('+')}.{argument}" for argument in spec[1:])]


def parse(*given: str) -> DoctorCLI:
    return DoctorCLI(["doctor", *given])


def objects(cli: DoctorCLI) -> dict[str, Any]:
    """What was built, in values that can be compared."""
    configured = cli.model.configure_optimizers()
    optimizer = configured["optimizer"] if isinstance(configured, dict) else configured
    schedule = configured["lr_scheduler"]["scheduler"] if isinstance(configured, dict) else None
    plain = (int, float, str, bool, tuple, list, type(None))
    return {
        "net": [(name, type(module), module.extra_repr()) for name, module in cli.model.net.named_modules()],
        "optimizer": [type(optimizer), [{**group, "params": None} for group in optimizer.param_groups]],
        "schedule": [type(schedule), {k: v for k, v in vars(schedule or object).items() if isinstance(v, plain)}],
        "data": [type(cli.datamodule), {k: v for k, v in vars(cli.datamodule).items() if isinstance(v, plain[:-3])}],
        "augment": [(type(one), vars(one)) for one in cli.datamodule.augment],
    }


def random_arguments(rng: random.Random) -> list[str]:
    given = [f"--config={ROOT / 'configs' / rng.choice(RECIPES)}"]
    settings = [arguments(key, rng.choice(specs)) for key, specs in PARTS.items() if rng.random() < 0.6]
    rng.shuffle(settings)
    given += [argument for setting in settings for argument in setting]
    for key, specs in {"data.augment+": AUGMENT, "trainer.callbacks+": CALLBACKS}.items():
        given += [argument for spec in rng.sample(specs, rng.randrange(3)) for argument in arguments(key, spec)]
    values = {
        "seed_everything": rng.randrange(2**32),
        "model.label_smoothing": rng.choice([0.0, 0.125]),
        "model.optimizer.lr": rng.choice(["1e-3", 2, 0.1]),
        "data.batch_size": rng.choice([16, 100]),
        "data.val_fraction": rng.choice([0, 0.5]),
        "trainer.max_epochs": rng.choice([1, 10**6]),
        "trainer.max_time": rng.choice(["00:01:00:00", "null"]),
        "trainer.devices": rng.choice(["auto", 1, "[0]"]),
        "trainer.precision": rng.choice(["32-true", "auto", 16]),
        "trainer.logger": rng.choice(["true", "false", "null"]),
        "trainer.default_callbacks.checkpoints.every_n_steps": rng.choice([5, "null"]),
        "trainer.default_callbacks.preview": "null",
        "trainer.log_every_n_steps": 7,
    }
    return given + [f"--{key}={value}" for key, value in values.items() if rng.random() < 0.4]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(16))
def test_a_saved_configuration_is_parsed_back_to_itself_and_to_the_same_objects(seed: int, tmp_path: Path) -> None:
    given = random_arguments(random.Random(seed))
    torch.manual_seed(0)
    first = parse(*given)
    saved = tmp_path / "config.yaml"
    saved.write_text(yaml.safe_dump(first.experiment, sort_keys=False))
    again = parse(f"--config={saved}")
    assert again.experiment == first.experiment, given
    assert objects(again) == objects(first), given


@pytest.mark.slow
@pytest.mark.parametrize("key", PARTS)
@pytest.mark.parametrize(("how", "recipe"), [("command line", "cifar10.yaml"), ("file", "folder.yaml")])
def test_another_class_path_starts_from_its_own_defaults(key: str, how: str, recipe: str, tmp_path: Path) -> None:
    group, _, name = key.partition(".")
    complete = {"data": "Shapes", "model.net": "SimpleCNN"}
    for number, spec in enumerate(PARTS[key]):
        given = arguments(key, spec)
        rest = [f"--{other}={path}" for other, path in complete.items() if other != key]
        alone = parse(*rest, *given).experiment[group]
        if how == "file":
            values = dict(argument.split("=") for argument in spec[1:])
            part = {"class_path": spec[0], "init_args": {k: yaml.safe_load(v) for k, v in values.items()}}
            (tmp_path / f"{number}.yaml").write_text(yaml.safe_dump({group: {name: part} if name else part}))
            given = [f"--config={tmp_path / f'{number}.yaml'}"]
        both = parse(f"--config={ROOT / 'configs' / recipe}", *given).experiment[group]
        with_own_defaults = both[name] if name else both
        replaced = yaml.safe_load((ROOT / "configs" / recipe).read_text())[group]
        replaced = replaced.get(name, {}) if name else replaced
        if replaced.get("class_path") != with_own_defaults["class_path"]:
            if key == "model.net" and "num_classes" in with_own_defaults["init_args"]:
                assert with_own_defaults["init_args"].pop("num_classes") == (2 if recipe == "folder.yaml" else 10)
                alone[name]["init_args"].pop("num_classes", None)
            assert with_own_defaults == (alone[name] if name else alone)


def test_dropped_arguments_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    parse(f"--config={ROOT / 'configs/cifar10.yaml'}", "--model.optimizer=torch.optim.AdamW")
    assert caplog.messages[0] == (
        "torch.optim.AdamW replaces src.optim.Muon, whose arguments are dropped: lr, momentum, head_lr, bias_lr, "
        "weight_decay"
    )
    caplog.clear()
    parse("--data=Shapes", "--model.net=SimpleCNN", "--model.optimizer=torch.optim.SGD")
    assert "dropped" not in caplog.text
