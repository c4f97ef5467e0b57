"""Mistakes of a hurried person: each is one paragraph that names what to do, with exit code 2, and leaves no file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

Fails = Callable[..., str]

# What is added to a valid `fit`, and words of the paragraph.
ARGUMENTS = {
    # Options
    "--trainer.max_epoch=3": "did you mean trainer.max_epochs?",
    "--trainer.maxepochs=3": "did you mean trainer.max_epochs?",
    "--max_epochs=3": "did you mean trainer.max_epochs?",
    "--batch_size=3": "did you mean data.batch_size?",
    "--epochs=3": "did you mean trainer.max_epochs?",
    "--trainer.gpus=3": "did you mean trainer.devices?",
    "--model.lr=3": "did you mean model.optimizer.lr?",
    "--data.batchsize=3": "did you mean batch_size?",
    "--data.batch-size=3": "did you mean batch_size?",
    "--data.init_args.batchsize=3": "did you mean batch_size?",
    "--model.lable_smoothing=0.1": "did you mean model.label_smoothing?",
    "--model.net.image_sise=3": "did you mean image_size?",
    "--model.optimizer.wieght_decay=0.1": "did you mean weight_decay?",
    "--model.optimizer.init_args.learning_rate=1": "Option 'learning_rate' is not accepted; choose from lr, betas",
    "--model.optimizer=torch.optim.SGD --model.optimizer.momentun=0.9": "did you mean momentum?",
    "--model.lr_scheduler=WarmupDecay --model.lr_scheduler.warmpu=1": "did you mean warmup?",
    "--trainer.default_callbacks.preveiw=null": "did you mean trainer.default_callbacks.preview?",
    "--trainer.default_callbacks.preview.images=3": "did you mean num_images?",
    "--trainer.callbacks+=EMA --trainer.callbacks.decya=0.9": "did you mean decay?",
    "--data.augment+=Flip --data.augment.probabilty=1": "did you mean probability?",
    "--confg=recipe.yaml": "did you mean config?",
    "--seed=3": "did you mean seed_everything?",
    "--ckpt=last.ckpt": "did you mean ckpt_path?",
    "--run=quickstart": "did you mean resume?",
    "--test=false": "did you mean test_after_fit?",
    "-x": "unrecognized arguments: -x",
    "extra": "unrecognized arguments: extra",
    "recipe.yml": "unrecognized arguments: recipe.yml",
    "--config": "--config needs a file",
    "--resume": "--resume: expected one argument",
    "--model.net": "--model.net: expected one argument",
    # Values
    "--trainer.max_epochs=three": "trainer.max_epochs: expected int or null, not three",
    "--trainer.max_epochs=1.5": "expected int or null, not 1.5",
    "--trainer.max_epochs=0": "there is nothing to train; set at least 1",
    "--trainer.max_epochs=-5": "`max_epochs` must be a non-negative integer or -1",
    "--trainer.max_epochs=null": "trainer.max_epochs is not set",
    "--trainer.max_steps=0": "there is nothing to train; set at least 1",
    "--trainer.max_time=5h": "DD:HH:MM:SS",
    "--trainer.accumulate_grad_batches=0": "set 1 for one",
    "--trainer.accumulate_grad_batches=-1": "accumulate_grad_batches -1 is not above 0; it is the number of batches",
    "--trainer.gradient_clip_val=-1": "gradient_clip_val -1 is below 0; set null for no clipping",
    "--trainer.val_check_interval=0": "val_check_interval 0 is not above 0; for no validation",
    "--trainer.check_val_every_n_epoch=0": "for no validation, set trainer.limit_val_batches 0",
    "--trainer.val_check_interval=2.5": "val_check_interval",
    "--trainer.val_check_interval=1000": "`val_check_interval` (1000) must be less than or equal",
    "--trainer.limit_train_batches=0": "there is nothing to train; set at least 1",
    "--trainer.limit_train_batches=-1": "invalid value -1 for limit_train_batches",
    "--trainer.overfit_batches=all": "trainer.overfit_batches: expected int or float, not all",
    "--trainer.precision=fp16": "Precision 'fp16' is invalid",
    "--trainer.accelerator=gpus": "invalid accelerator name",
    "--trainer.devices=0": "devices",
    "--trainer.devices=two": "devices",
    "--trainer.num_nodes=0": "`num_nodes` must be a positive integer",
    "--trainer.strategy=dpp": "invalid strategy name",
    "--trainer.profiler=simpel": "'simple', 'advanced', 'pytorch', 'xla'",
    "--trainer.gradient_clip_algorithm=max": "['value', 'norm']",
    "--trainer.test_checkpoint=first": "'best', 'last', not first",
    "--trainer.enable_checkpointing=false": "is not supported",
    "--trainer.barebones=true": "is not supported",
    "--trainer.use_distributed_sampler=true": "is not supported",
    "--trainer.logger=tensorboard": "did you mean lightning.pytorch.loggers.TensorBoardLogger?",
    "--trainer.logger=3": "trainer.logger: 3 is not a class path",
    "--trainer.callbacks=EMAA": "to append one, use --trainer.callbacks+=EMAA",
    "--trainer.callbacks=3": "trainer.callbacks: expected list or null, not 3",
    "--trainer.callbacks+=EarlyStoping": "did you mean lightning.pytorch.callbacks.EarlyStopping?",
    "--trainer.callbacks+=EarlyStopping": "the following arguments are required: monitor",
    "--trainer.callbacks+=EMA --trainer.callbacks.decay=2": "decay 2.0",
    "--trainer.default_callbacks.checkpoints=null": "expected the class path of a RunCheckpoints, not null",
    "--trainer.default_callbacks.checkpoints.every_n_steps=0": "every_n_steps 0 must be at least 1",
    "--trainer.enable_progress_bar=maybe": "trainer.enable_progress_bar: expected bool or null, not maybe",
    "--seed_everything=abc": "seed_everything: expected int, not abc",
    "--seed_everything=true": "seed_everything: expected int, not True",
    "--seed_everything=null": "seed_everything: expected int, not null",
    "--seed_everything=-1": "seed_everything -1 is outside [0, 2**32)",
    "--test_after_fit=never": "test_after_fit: expected bool, not never",
    "--data.batch_size=many": "data.batch_size (src.data.Shapes): expected int, not many",
    "--data.batch_size=null": "data.batch_size (src.data.Shapes): expected int, not null",
    "--data.batch_size=0": "batch_size 0 must be at least 1",
    "--data.train_size=0": "train_size 0 must be at least 1",
    "--data.val_fraction=20%": "expected float, not 20%",
    "--data.val_fraction=1": "val_fraction 1.0 is outside [0, 1)",
    "--data.split=stratifed": "'tail', 'random', 'stratified', 'hash', not stratifed",
    "--data.normalize=yes": "data.normalize (src.data.Shapes): expected",
    "--data.drop_last=1.5": "data.drop_last (src.data.Shapes): expected bool, not 1.5",
    "--data.augment=null": "data.augment (src.data.Shapes): expected list, not null",
    "--data.augment=Flip": "to append one, use --data.augment+=Flip",
    "--data.mix=Flip": "data.mix (src.data.Shapes): Flip is not a class path.",
    "--data.augment+=Flp": "Flp is not a class path; did you mean Flip?",
    "--data.augment+=Flip --data.augment.probability=2": "probability 2",
    "--data.seed=4": "data.seed is taken from seed_everything; set that",
    "--data=CIFAR11": "CIFAR11 is not a class path; did you mean CIFAR10?",
    "--data=cifar10": "did you mean CIFAR10?",
    "--data=src.data.Shape": "did you mean Shapes?",
    "--data=ImageFolder": "the following arguments are required: data_dir",
    "--data=null": "the following arguments are required: data",
    "--model.label_smoothing=1.5": "label_smoothing 1.5 is outside [0, 1)",
    "--model.label_smoothing=null": "model.label_smoothing: expected float, not null",
    "--model.lr_interval=steps": "model.lr_interval: expected one of 'step', 'epoch', not steps",
    "--model.compile=default": "model.compile: expected bool, not default",
    "--model.num_classes=5": "model.num_classes is taken from the data",
    "--model.init_from=nowhere": "nowhere is not a run directory",
    "--model.net=null": "model.net: expected the class path of a Module, not null",
    "--model.net=resnet18": "did you mean torchvision.models.resnet18?",
    "--model.net=SimpelCNN": "did you mean SimpleCNN?",
    "--model.net=src.models.simplecnn": "did you mean SimpleCNN?",
    "--model.net=src.model.SimpleCNN": "did you mean models?",
    "--model.net=torchvision.models.resnet99": "has no attribute 'resnet99'; did you mean resnet",
    "--model.net=torchvison.models.resnet18": "No module named 'torchvison'; did you mean torchvision?",
    "--model.net=collections.OrderedDict": "does not correspond to a subclass of Module",
    "--model.net=torch.nn.functional.relu": "a function states in its signature what it returns: `-> Module`",
    "--model.loss=textwrap.dedent": "a function states in its signature what it returns: `-> Tensor`",
    "--model.net=torch.nn.Linear": "the following arguments are required: in_features, out_features",
    "--model.net=torchvision.models.resnet18 --model.net.num_clases=10": "did you mean num_classes?",
    "--model.net=torch.nn.Conv2d --model.net.in_channels=3 --model.net.out_channels=10 --model.net.kernel_size=3": (
        "must return (2, 10)"
    ),
    "--model.net=torchvision.models.resnet18 --model.net.num_classes=ten": "num_classes",
    "--model.net=tests.cli.test_mistakes.factory --model.net.classes=10": "is given as dict_kwargs.NAME",
    "--model.net.image_size=64": "does not take images of shape (2, 3, 12, 12)",
    "--model.net.num_classes=7": "returns (2, 7) for images of shape",
    "--model.net.dropout=2": "dropout",
    "--model.net=torchvision.models.alexnet --model.net.num_classes=10": "does not take images of shape",
    "--model.net=SpeedNet --model.net.widths=[-1,2,3]": "must start with at least 24",
    "--model.net.image_size=big": "model.net.image_size (src.models.SimpleCNN): expected int, not big",
    "--model.optimizer=null": "model.optimizer: expected class path, not null",
    "--model.optimizer=adam": "did you mean torch.optim.Adam?",
    "--model.optimizer=AdamX": "did you mean torch.optim.Adam?",
    "--model.optimizer=torch.optim.AdamX": "did you mean Adam?",
    "--model.optimizer=torch.optim.SGD --model.optimizer.lr=-1": "Invalid learning rate: -1",
    "--model.optimizer.lr=fast": "lr",
    "--model.optimizer=torch.optim.Muon": "use src.optim.Muon",
    "--model.lr_scheduler=CosineAnnealing": "did you mean torch.optim.lr_scheduler.CosineAnnealingLR?",
    "--model.lr_scheduler=torch.optim.lr_scheduler.StepLR": "the following arguments are required: step_size",
    "--model.lr_scheduler=WarmupDecay --model.lr_scheduler.warmup=2": "warmup 2",
    "--model.lr_scheduler=WarmupDecay --model.lr_scheduler.shape=cosin": "'cosine'",
    # Paths
    "--config=nowhere.yaml": "nowhere.yaml",
    "--config=folder": "folder",
    "--resume=nowhere": "nowhere is not a run directory",
    "--ckpt_path=nowhere.ckpt": "nowhere.ckpt",
    "--ckpt_path=file": "file",
    "--trainer.default_root_dir=file/run": "file",
    "--data=ImageFolder --data.data_dir=nowhere": "nowhere",
}

FILES = {
    "": "is not a configuration",
    "- a": "is not a configuration",
    "trainer: {max_epochs: [1": "recipe.yaml, line 1",
    "trainer:\n\tmax_epochs: 1": "recipe.yaml, line 2",
    "data: Shapes\ndata: CIFAR10": "the key data is given twice",
    "lr: 0.1": "did you mean model.optimizer.lr?",
    "nets: 0.1": "choose from seed_everything, trainer, model, data",
    "max_epochs: 3": "did you mean trainer.max_epochs?",
    "trainer: {max_epoch: 3}": "did you mean trainer.max_epochs?",
    "trainer: {max_epochs: three}": "trainer.max_epochs: expected int or null, not three",
    "trainers: {max_epochs: 3}": "did you mean trainer",
    "model: {lr: 0.1}": "did you mean model.optimizer.lr?",
    "model: {optimizer: {class_path: torch.optim.SGD, init_arg: {lr: 4}}}": "recipe.yaml: model.optimizer has init_arg",
    "model: {optimizer: {class_path: torch.optim.SGD, lr: 4}}": "arguments belong into init_args",
    "model: {optimizer: {class_path: torch.optim.SGD, init_args: [lr, 4]}}": "must be a mapping of arguments",
    "model: {optimizer: {clas_path: torch.optim.SGD}}": "did you mean class_path?",
    "model: {optimizer: {clas_path: torch.optim.SGD, init_args: {lr: 1}}}": "has clas_path next to class_path",
    "model: {net: {class_pth: SimpleCNN}}": "did you mean class_path?",
    "data: {class_path: Shapes, augment: [Flip]}": "recipe.yaml: data has augment next to class_path",
    "data: {class_path: Shapes, init_args: {augment: [{class_path: Flip, p: 1}]}}": "init_args.augment has p next to",
    "trainer: {callbacks: [{EarlyStopping: {monitor: val/loss}}]}": "class_path is missing",
    "trainer: [1]": "recipe.yaml: trainer must be a mapping of arguments, not [1]",
    "model: SimpleCNN": "recipe.yaml: model must be a mapping of arguments, not SimpleCNN",
    "resume: nowhere": "recipe.yaml: resume belongs on the command line",
    "model: {net: {class_path: SimpleCNN, init_args: {width: 4}}}": "Option 'width' is not accepted; choose from",
    "model: {net: [SimpleCNN]}": "model.net",
    "data: {class_path: Shapes, init_args: {seed: 4}}": "data.init_args.seed is taken from seed_everything",
    "model: {num_classes: 4}": "recipe.yaml: model.num_classes is taken from the data",
    "data: {class_path: Shapes, init_args: {batch_size: 12.5}}": "expected int, not 12.5",
    "data: {class_path: Shapes, init_args: {augment: [{class_path: Flp}]}}": "did you mean Flip?",
    "trainer: {callbacks: [{class_path: EMA, init_args: {decya: 1}}]}": "did you mean decay?",
    "format_version: 99": "use the version of the project that wrote it",
}

OTHERS = {
    "fit": "python -m src fit --config configs/quickstart.yaml",
    "fit recipe.yaml": "did you mean --config recipe.yaml?",
    "fit --trainer.max_epochs=3": "the following arguments are required: model.net, data; give a recipe, --config FILE",
    "test": "--run RUN",
    "test --resume=a": "did you mean run?",
    "test --run=nowhere": "nowhere is not a run directory",
    "validate --test_after_fit=true": "unrecognized arguments: --test_after_fit",
    "predict recipe.yaml": "did you mean --config recipe.yaml?",
    "doctor --trainer.max_epoch=3": "did you mean trainer.max_epochs?",
    "doctor --run=nowhere": "nowhere is not a run directory",
    "doctor --config=nowhere.yaml": "nowhere.yaml",
    "doctor recipe.yaml": "did you mean --config recipe.yaml?",
}


RECIPES = {
    "model: {net: {init_args: {width: 4}}}\ndata: Shapes": "Option 'width' is not accepted; class_path is missing",
    "model: {net: {width: 4}}\ndata: Shapes": "Option 'width' is not accepted; class_path is missing",
    "model: {net: SimpleCNN}\ndata: {batch_size: 4}": "is abstract; give the class_path of another",
    "model: {net: SimpleCNN}\ndata: {init_args: {batch_size: 4}}": "data: class_path is missing",
    "net: SimpleCNN\ndata: Shapes": "does not accept option 'net'; did you mean model.net?",
    "model: {net: 3}\ndata: Shapes": "model.net: expected the class path of a Module, not 3",
    "data: &a [*a]": "recipe.yaml is not a configuration: a value in it contains itself",
    "model: null\ndata: Shapes": "the following arguments are required: model.net",
    "model: {net: SimpleCNN}": "the following arguments are required: data",
    "data: Shapes": "the following arguments are required: model.net",
    "model: {net: SimpleCNN}\ndata: Shapes": "trainer.max_epochs is not set",
}


def factory(size: int = 3, **kwargs: int) -> nn.Module:
    """A network whose signature does not show all arguments, as timm.create_model."""
    return nn.Linear(size, kwargs["classes"])


@pytest.mark.parametrize("given", ARGUMENTS)
def test_arguments(given: str, fails: Fails, tiny: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    text = fails("fit", *tiny, *given.split())
    assert ARGUMENTS[given] in text
    assert len(text) < 500


@pytest.mark.parametrize("content", FILES)
def test_files(content: str, fails: Fails, tiny: list[str], tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(content)
    text = fails("fit", *tiny, "--config=recipe.yaml")
    assert FILES[content] in text
    assert len(text) < 500


@pytest.mark.parametrize("content", RECIPES)
def test_recipes(content: str, fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(content)
    assert RECIPES[content] in fails("fit", "--config=recipe.yaml")


@pytest.mark.parametrize("given", OTHERS)
def test_subcommands(given: str, fails: Fails) -> None:
    assert OTHERS[given] in fails(*given.split())
