"""What can keep a training from beginning or ending, found without training: the checks of `python -m src doctor`.

A check judges what it is given and returns a finding; `machine` and `training`, at the end, ask the machine.
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from torch import Tensor

from src.classifier import Classifier
from src.cli import machine as here
from src.cli.finding import Finding, size
from src.cli.launcher import launch, processes, threads
from src.data import ImageDataModule
from src.data.index_loader import IndexLoader
from src.errors import UserError
from src.runtime import resume, run_directory
from src.runtime.checkpoint_file import check_same_network
from src.runtime.manifest import hardware
from src.runtime.precision import native_precision
from src.runtime.preflight import check_network

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


# The machine


def versions(project: Mapping[str, Any], python: str, installed: Callable[[str], str]) -> list[Finding]:
    """Whether Python and the packages are in the ranges of pyproject.toml's table `project`.

    Args:
        project: that table.
        python: the version that runs.
        installed: gives a package's version, or raises PackageNotFoundError.
    """
    advice = "run `pip install --require-hashes -r requirements.txt`"
    wrong = []
    if not SpecifierSet(project["requires-python"]).contains(python, prereleases=True):
        wrong.append(
            Finding("FAIL", "python", f"{python} is not {project['requires-python']}; make .venv with another")
        )
    for wanted in map(Requirement, project["dependencies"]):
        try:
            version = installed(wanted.name)
        except metadata.PackageNotFoundError:
            wrong.append(Finding("FAIL", "packages", f"{wanted.name} is not installed; {advice}"))
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            text = f"{wanted.name} {version} is not {wanted.specifier}; {advice}"
            wrong.append(Finding("FAIL", "packages", text))
    counted = f"Python {python} and {len(project['dependencies'])} packages as pyproject.toml asks"
    return wrong or [Finding("ok", "packages", counted)]


def kind_of(accelerator: str, count: Mapping[str, int]) -> str:
    """The kind of device that an accelerator argument means: the first that there is for `auto` and `gpu`."""
    kinds = {"auto": ("cuda", "mps", "cpu"), "gpu": ("cuda", "mps")}.get(accelerator, (accelerator,))
    return next((kind for kind in kinds if count.get(kind)), kinds[0])


def device_numbers(asked: Any, kind: str, count: int) -> list[int]:
    """The devices of a node that trainer.devices means: a number of them, a list, or all."""
    text = str(asked).strip("[] ")
    if text in ("auto", "-1"):
        return list(range(1 if kind == "cpu" else count))
    if isinstance(asked, list) or "," in text:
        return [int(number) for number in text.split(",") if number.strip()]
    return list(range(int(text)))


def devices(kind: str, asked: Any, count: Mapping[str, int]) -> Finding:
    """Whether the devices are there.

    Args:
        kind: see `kind_of`.
        asked: trainer.devices.
        count: how many of each kind there are.
    """
    if kind not in count:
        return Finding("note", "devices", f"{kind} is not known here; Lightning decides")
    try:
        numbers = device_numbers(asked, kind, count[kind])
    except ValueError:
        return Finding("FAIL", "devices", f"trainer.devices {asked!r} is no number of devices and no list of them")
    if kind == "cpu" and numbers:
        return Finding("ok", "devices", f"CPU, {len(numbers)} {'process' if len(numbers) == 1 else 'processes'}")
    if not count[kind]:
        text = f"trainer.accelerator asks for {kind}, and there is none here; use trainer.accelerator auto"
        return Finding("FAIL", "devices", f"{text}, or see whether driver and job give this process its GPUs")
    if not numbers:
        return Finding("FAIL", "devices", f"trainer.devices {asked!r} is none; use auto or at least 1")
    if absent := [number for number in numbers if number not in range(count[kind])]:
        text = f"{len(numbers)} x {kind} asked for, {count[kind]} here (there is no {', '.join(map(str, absent))})"
        return Finding("FAIL", "devices", f"{text}; lower trainer.devices or ask the scheduler for more")
    return Finding("ok", "devices", f"{len(numbers)} of {count[kind]} {kind}")


def precision(asked: Any, kind: str, native: str, speedup: float) -> Finding:
    """Whether the hardware computes in the precision itself.

    Args:
        asked: trainer.precision.
        kind: of device, see `kind_of`.
        native: what `auto` becomes there.
        speedup: of bf16 over float32, measured.
    """
    means = native if asked == "auto" else str(asked)
    text = f"auto becomes {means}" if asked == "auto" else means
    measured = f"bf16 multiplies matrices {speedup:.1f} times as fast as float32"
    if means.startswith("bf16"):
        if native != "bf16-mixed":
            return Finding("note", "precision", f"{text}, which this {kind} emulates ({measured}); auto takes {native}")
        level = "ok" if speedup > 1 else "note"
        return Finding(level, "precision", f"{text}, which this {kind} computes itself ({measured})")
    if means.startswith("16") and kind == "cpu":
        return Finding("note", "precision", f"{text} is made for GPUs; auto takes {native} ({measured})")
    if asked == "auto":
        return Finding("ok", "precision", f"{text}: this {kind} only emulates bf16 ({measured})")
    return Finding("ok", "precision", text)


def writable(folder: Path, argument: str) -> Finding:
    """Whether a run can write into a folder, or make it."""
    place = here.existing(folder)
    made = "" if place == folder else f" (in {place}, which exists)"
    try:
        here.try_to_write(place)
    except OSError as error:
        return Finding(
            "FAIL", "folder", f"{folder} cannot be written: {place}: {error.strerror}; choose another {argument}"
        )
    return Finding("ok", "folder", f"{folder} can be written{made}")


def room(subject: str, folder: Path, needed: int, free: int, why: str) -> Finding:
    """Whether so many bytes, for which `why` accounts, fit on a folder's disk."""
    text = f"{size(needed)} needed in {folder} ({why}), {size(free)} free"
    return Finding("ok", subject, text) if needed < free else Finding("FAIL", subject, f"{text}; make room")


# The configuration


def data_there(data: ImageDataModule) -> list[Finding]:
    """Whether the data are there and whole; nothing is fetched."""
    name = type(data).__name__
    data.cache_writable = False
    try:
        missing = data.pending_preparation()
        if missing:
            text = f"{name}: not there yet; fit will first {missing.work}"
            findings = [Finding("note", "data", text), writable(missing.folder, "data.data_dir")]
            free = shutil.disk_usage(here.existing(missing.folder)).free
            return [*findings, room("disk", missing.folder, missing.bytes, free, "for the data")]
        data.setup("fit")
        train = data.image_set("train").images_NHWC
        test = f" + {len(data.image_set('test').images_NHWC):,}" if data.has_test else ""
    except (UserError, OSError, ValueError, RuntimeError) as error:
        return [Finding("FAIL", "data", f"{name}: {error}")]
    place = f" in {folder}" if (folder := getattr(data, "data_dir", None)) else ""
    shape = " x ".join(map(str, train.shape[1:]))
    text = f"{name}{place}: {len(train):,}{test} pictures of {shape}, {data.num_classes} classes, whole"
    return [Finding("ok", "data", text)]


def memory(needed: int, processes: int, available: int | None) -> Finding:
    """Whether each process of a node can hold the data; this one holds them already."""
    text = f"the data take {size(needed)} in each process"
    if available is None:
        return Finding("note", "memory", f"{text}; what is free is not known here")
    text += f", {size(available)} free beside this one's"
    if needed * (processes - 1) < available:
        return Finding("ok", "memory", text)
    return Finding(
        "FAIL", "memory", f"{text}; start fewer than {processes} processes on a node, or ask for more memory"
    )


def batches(train_indices: Tensor, batch_size: int, processes: int, drop_last: bool) -> Finding:
    """Whether the processes can share a batch, and there is one."""
    try:
        steps = len(IndexLoader(train_indices, batch_size, world_size=processes, drop_last=drop_last))
    except UserError as error:
        return Finding("FAIL", "batches", str(error))
    text = f"{len(train_indices):,} training pictures in batches of {batch_size}: {steps} steps an epoch"
    if not steps:
        return Finding("FAIL", "batches", f"{text}; lower data.batch_size or leave data.drop_last out")
    return Finding("ok", "batches", f"{text}, {batch_size // processes} pictures a process")


def network(model: Classifier, example_1CHW: Tensor, num_classes: int) -> Finding:
    """Whether the network takes a picture and gives a logit a class."""
    try:
        check_network(model.net, example_1CHW, num_classes)
    except UserError as error:
        return Finding("FAIL", "network", str(error))
    count = sum(parameter.numel() for parameter in model.net.parameters())
    text = f"{type(model.net).__name__}, {count:,} parameters: {tuple(example_1CHW.shape)} to (1, {num_classes})"
    return Finding("ok", "network", text)


def checkpoint_bytes(model: Classifier) -> tuple[int, int]:
    """Size of the weights and of the optimizer's state, found by a step with gradients of zero; the model is of no
    further use."""
    weights = _bytes(model.state_dict())
    configured = model.configure_optimizers()
    optimizer = configured["optimizer"] if isinstance(configured, dict) else configured
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(lambda: torch.zeros(()))
    return weights, _bytes(optimizer.state_dict())


def space_for_checkpoints(model: Classifier, directory: Path, free: int, averaged: bool = False) -> Finding:
    """Whether best.ckpt, last.ckpt, previous.ckpt and the one that is being written beside them fit on the disk.

    Args:
        model: as configured; of no further use.
        directory: of the run.
        free: bytes on its disk.
        averaged: whether each also holds a moving average of the weights.
    """
    try:
        weights, state = checkpoint_bytes(model)
    except (ValueError, TypeError, RuntimeError, UserError) as error:
        return Finding("FAIL", "optimizer", f"{error} ({type(error).__name__})")
    weights *= 2 if averaged else 1
    kept = sum(
        (directory / run_directory.CHECKPOINTS / name).is_file()
        for name in (run_directory.BEST, run_directory.LAST, run_directory.PREVIOUS)
    )
    why = f"{4 - kept} checkpoints of {size(weights)} weights and {size(state)} optimizer state"
    return room("disk", directory, (4 - kept) * (weights + state), free, why)


def directory_of_its_own(directory: Path, again: bool) -> Finding:
    """Whether a run may write into its directory."""
    if (directory / run_directory.CONFIG).exists() and not again:
        return Finding("FAIL", "folder", f"{directory} already holds a run; go on with it by --resume {directory}")
    return writable(directory, "trainer.default_root_dir")


Found = tuple[Path, dict[str, Any], list[str]]  # as `resume.latest` gives it


def weights(model: Classifier, find: Callable[[], Found]) -> Finding:
    """Whether a checkpoint is there, whole, and of this network."""
    try:
        path, saved, _ = find()
        check_same_network(model.state_dict(), saved["state_dict"], str(path))
    except UserError as error:
        return Finding("FAIL", "checkpoint", str(error))
    return Finding("ok", "checkpoint", f"{path} is whole and of this network")


def resumable(model: Classifier, find: Callable[[], Found], averaged: bool, max_epochs: int | None) -> Finding:
    """Whether a checkpoint is there, whole, and one that training can go on from.

    Args:
        model: as configured.
        find: finds and reads it.
        averaged: whether a moving average of the weights is kept.
        max_epochs: trainer.max_epochs.
    """
    try:
        path, saved, complaints = find()
        resume.check_resumable(model, saved, str(path), averaged=averaged)
    except UserError as error:
        return Finding("FAIL", "checkpoint", str(error))
    # An epoch that was saved at its end counts as processed, one that was saved in its middle does not.
    done = saved["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    text = f"{path} is whole, of this network and optimizer, {done} epochs and {saved['global_step']} steps done"
    if complaints:
        return Finding("note", "checkpoint", f"{'; '.join(complaints)}; {text}")
    if max_epochs is not None and 0 <= max_epochs <= done:
        return Finding("note", "checkpoint", f"{text}: nothing is left of trainer.max_epochs {max_epochs}")
    return Finding("ok", "checkpoint", text)


def trainer(build: Callable[[], Any]) -> Finding:
    """Whether Lightning accepts the trainer's arguments together: tried, since only it knows."""
    logging.disable(logging.INFO)  # what it says of itself is a finding already
    try:
        build()
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, KeyError, ImportError) as error:
        return Finding("FAIL", "trainer", f"{error} ({type(error).__name__})")
    finally:
        logging.disable(logging.NOTSET)
    return Finding("ok", "trainer", "Lightning accepts its arguments")


# All of them


def machine() -> Iterator[Finding]:
    """What is installed, and on what."""
    yield from versions(tomllib.loads(PYPROJECT.read_text())["project"], platform.python_version(), metadata.version)
    own = hardware()
    there = here.available_memory()
    gpus = f", {', '.join(own['gpus'])}" if own["gpus"] else ", no CUDA device"
    text = f"{platform.node()}: {own['cpu']}, {own['cores']} cores{gpus}"
    yield Finding("ok", "machine", text + (f", {size(there)} memory free" if there is not None else ""))
    if not own["gpus"] and shutil.which("nvidia-smi"):
        text = f"nvidia-smi is installed, but torch {torch.__version__} sees no GPU"
        yield Finding(
            "note", "machine", f"{text}; see what nvidia-smi says, CUDA_VISIBLE_DEVICES, and the driver's age"
        )


def without_configuration(
    logs: Path = run_directory.LOGS, environ: Mapping[str, str] = os.environ
) -> Iterator[Finding]:
    """What a recipe that says nothing of these would meet."""
    yield _native("auto", "auto")
    yield writable(logs, "trainer.default_root_dir")
    yield room("disk", logs, 10**9, shutil.disk_usage(here.existing(logs)).free, "a rule of thumb, without a recipe")
    yield processes(environ)


def training(
    model: Classifier,
    data: ImageDataModule,
    asked: Mapping[str, Any],
    directory: Path,
    build: Callable[[], Any],
    again: bool = False,
    averaged: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> Iterator[Finding]:
    """The checks of a configuration on this machine.

    Args:
        model: as configured; of no further use afterwards.
        data: as configured.
        asked: the trainer's arguments.
        directory: of the run.
        build: builds the trainer.
        again: whether the run is there already, as it should.
        averaged: whether a moving average of the weights is kept.
        environ: the variables of the scheduler's.
    """
    cores = hardware()["cores"]
    count = here.devices(cores)
    kind = kind_of(str(asked["accelerator"]), count)
    beginning = [devices(kind, asked["devices"], count)]
    per_node, nodes = 1, asked["num_nodes"]
    if beginning[0].level == "ok":
        per_node = len(device_numbers(asked["devices"], kind, count[kind]))
        beginning.append(processes(environ, per_node, nodes))
    yield from beginning
    yield _native(asked["precision"], str(asked["accelerator"]))
    outside = launch(environ) is not None or "LOCAL_RANK" in environ  # where Lightning starts no process
    shared_out = per_node > 1 and not outside and "OMP_NUM_THREADS" not in environ
    each = max(1, cores // per_node) if shared_out else torch.get_num_threads()
    yield threads(per_node, each, cores, kind == "cpu")
    if all(finding.level != "FAIL" for finding in beginning):
        yield trainer(build)  # whose own words on these are less plain
    found = data_there(data)
    yield from found
    if found[0].level == "ok":
        pictures = [data.image_set("train"), *([data.image_set("test")] if data.has_test else [])]
        yield memory(
            sum(images.nbytes + labels.nbytes for images, labels in pictures), per_node, here.available_memory()
        )
        yield batches(data.train_indices, data.batch_size, per_node * nodes, data.drop_last)
        height, width, channels = pictures[0].images_NHWC.shape[1:]
        yield network(model, torch.zeros(1, channels, height, width), data.num_classes)
    yield directory_of_its_own(directory, again)
    yield space_for_checkpoints(model, directory, shutil.disk_usage(here.existing(directory)).free, averaged)


def _native(asked: Any, accelerator: str) -> Finding:
    kind = kind_of(accelerator, here.devices(1))
    device = torch.device(kind if kind == "cuda" and torch.cuda.is_available() else "cpu")
    return precision(asked, kind, native_precision(accelerator), here.bf16_speedup(device))


def _bytes(content: Any) -> int:
    """Of all tensors in nested dictionaries and lists."""
    if isinstance(content, Tensor):
        return content.nbytes
    inside = content.values() if isinstance(content, Mapping) else content if isinstance(content, list | tuple) else ()
    return sum(_bytes(value) for value in inside)
