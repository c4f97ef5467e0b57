"""Where tensors lie, how they are computed, and what a step waits for."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback
from torch import Tensor, nn

from src.callbacks.ema import EMA
from src.classifier import Classifier
from src.data import Shapes
from src.models import DeepCNN
from src.runtime.precision import native_precision
from src.runtime.trainer import Trainer
from tests.gpu.conftest import DEVICE, fit_on
from tests.processes import finish

OPTIMIZERS = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)


def shapes(**kwargs: Any) -> Shapes:
    return Shapes(200, 10, 16, **{"batch_size": 20, "val_fraction": 0.2, **kwargs})


class Record(Callback):
    """Records where the dataset and a batch lie."""

    def __init__(self) -> None:
        self.places: set[tuple[str, int]] = set()
        self.batches: set[torch.device] = set()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.places |= {(one.device.type, one.data_ptr()) for one in trainer.datamodule.image_set("train")}
        self.batches |= {one.device for one in batch if isinstance(one, Tensor)}


def test_images_and_labels_move_once_and_stay(tmp_path: Path, device: torch.device) -> None:
    record = Record()
    fit_on(DEVICE, tmp_path, Classifier(DeepCNN(image_size=16)), shapes(), callbacks=[record])
    assert {kind for kind, _ in record.places} == {device.type}
    assert len(record.places) == 2  # images and labels
    assert record.batches == {device}


def test_a_dataset_that_does_not_fit_stays_in_the_memory_of_the_cpu(
    tmp_path: Path, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "get_memory_info", lambda device: (100, 100))
    record = Record()
    fit_on(DEVICE, tmp_path, Classifier(DeepCNN(image_size=16)), shapes(), callbacks=[record])
    assert {kind for kind, _ in record.places} == {"cpu"}
    assert record.batches == {device}


@pytest.mark.parametrize("fits", [True, False], ids=["on the device", "pinned"])
def test_a_step_never_waits_for_the_device(fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Forbid(Callback):
        """Lets torch raise where a step waits, from the end of the second to the end of the last."""

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if DEVICE == "cuda":  # test_device_traffic.py counts on other devices
                torch.cuda.set_sync_debug_mode("error" if 0 < batch_idx < 7 else "default")

    if not fits:
        monkeypatch.setattr(torch.accelerator, "get_memory_info", lambda device: (100, 100))
    model = Classifier(DeepCNN(image_size=16))
    options = {"gradient_clip_val": 1.0, "precision": "auto", "max_epochs": 1}
    try:
        fit_on(DEVICE, tmp_path, model, shapes(), callbacks=[EMA(), Forbid()], **options)
    finally:
        if DEVICE == "cuda":
            torch.cuda.set_sync_debug_mode("default")


def test_precision_auto_is_what_the_device_computes_natively(tmp_path: Path, record_property: Any) -> None:
    found = Trainer(accelerator=DEVICE, devices=1, default_root_dir=str(tmp_path), logger=False).precision
    record_property("figure", found)
    if DEVICE == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        assert found == ("bf16-mixed" if native else "32-true")
    else:
        assert found == native_precision(DEVICE)


def test_images_weights_and_activations_are_channels_last(tmp_path: Path) -> None:
    formats: list[bool] = []

    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        tensors = (module.weight, *inputs, output)
        formats.extend(one.is_contiguous(memory_format=torch.channels_last) for one in tensors)  # pyright: ignore

    net = DeepCNN(image_size=16)
    net[2].register_forward_hook(record)  # the second convolution
    fit_on(DEVICE, tmp_path, Classifier(net), shapes(), max_epochs=1)
    assert formats and all(formats)


def test_matrix_products_in_float32_do_not_use_tf32(device: torch.device, record_property: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(256, 256, generator=generator), torch.randn(256, 256, generator=generator)
    error = float((a.to(device) @ b.to(device)).cpu().sub(a.double() @ b.double()).abs().max())
    tf32 = torch.backends.cudnn.allow_tf32 and DEVICE == "cuda"
    record_property("figure", f"largest error {error:.1e}; convolutions {'may use' if tf32 else 'do not use'} TF32")
    assert error < 1e-3  # 3e-2 with the 10 bits of TF32


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_fused_optimizers(optimizer: Any, tmp_path: Path) -> None:
    model = Classifier(DeepCNN(image_size=16), lambda params: optimizer(params, lr=1e-3, fused=True))
    fitted = fit_on(DEVICE, tmp_path, model, shapes(), max_epochs=1, precision="auto")
    assert fitted.global_step == 8


def test_a_compiled_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 10))
    if DEVICE == "cpu":  # where the C++ compiler takes half a minute
        monkeypatch.setattr(net, "compile", partial(net.compile, backend="eager"))
    fitted = fit_on(DEVICE, tmp_path, Classifier(net, compile=True), shapes(drop_last=True), max_epochs=1)
    assert fitted.global_step == 8


@pytest.mark.parametrize("devices", range(1, 1 + max(1, min(2, torch.cuda.device_count()))))
def test_process_group_and_synchronized_batch_norm(devices: int, tmp_path: Path, record_property: Any) -> None:
    output = finish(
        *("--data=Shapes", "--data.train_size=200", "--data.test_size=10", "--data.image_size=16"),
        *("--data.batch_size=20", "--model.net=src.models.SpeedNet", "--model.net.image_size=16"),
        *("--trainer.max_epochs=1", "--trainer.strategy=ddp", f"--trainer.devices={devices}"),
        *(f"--trainer.accelerator={DEVICE}", "--trainer.callbacks+=tests.gpu.probes.PrintGroup"),
        *("--test_after_fit=false", f"--trainer.default_root_dir={tmp_path / 'run'}"),
    )
    found = next(line for line in output.splitlines() if line.startswith("group "))
    record_property("figure", found)
    backend, norms = ("nccl", 6) if DEVICE == "cuda" else ("gloo", 0)  # torch synchronizes none on a CPU
    assert found == f"group {backend}, {devices}, {norms}"
