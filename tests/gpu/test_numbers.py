"""The device computes the same as the CPU, and a resumed run the same as an undisturbed one."""

import inspect
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from src.callbacks.ema import EMA
from src.classifier import Classifier
from src.data import Shapes, augment
from src.data.augment import Augmentation, Flip, ImageDataGenerator
from src.models import DeepCNN
from src.optim.muon import orthogonalize
from src.rng import uniforms
from tests.gpu.conftest import DEVICE, fit_on
from tests.processes import finish, start
from tests.toys import last_checkpoint

CONCRETE = [one for _, one in inspect.getmembers(augment, inspect.isclass) if not inspect.isabstract(one)]
ARGUMENTS: dict[type, dict[str, Any]] = {augment.RandomResizedCrop: {"size": 24}}


@pytest.mark.parametrize("kind", [one for one in CONCRETE if issubclass(one, Augmentation)])
def test_augmentation_gives_the_same_images_as_on_the_cpu(
    kind: type[Augmentation], device: torch.device, record_property: Any
) -> None:
    step = kind(**ARGUMENTS.get(kind, {}))
    images_BCHW, uniform_BK = uniforms(8 * 3 * 32, 32, 0, 1).view(8, 3, 32, 32), uniforms(8, step.num_uniforms, 0, 2)
    expected_BCHW = step(images_BCHW, uniform_BK, 1)
    found_BCHW = step(images_BCHW.to(device), uniform_BK.to(device), 1).cpu()
    record_property("figure", f"largest difference {(found_BCHW - expected_BCHW).abs().max():.1e}")
    torch.testing.assert_close(found_BCHW, expected_BCHW, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", [one for one in CONCRETE if issubclass(one, augment.Mix)])
def test_mixing_gives_the_same_images_as_on_the_cpu(kind: type[augment.Mix], device: torch.device) -> None:
    mix = kind()
    uniform_BK = uniforms(8, mix.num_uniforms, 0, 2)
    images_BCHW, partners_BCHW = (uniforms(8 * 3 * 32, 32, 0, key).view(8, 3, 32, 32) for key in (1, 3))
    expected = mix(images_BCHW, partners_BCHW, uniform_BK)
    found = mix(images_BCHW.to(device), partners_BCHW.to(device), uniform_BK.to(device))
    torch.testing.assert_close([tensor.cpu() for tensor in found], list(expected), rtol=0, atol=1e-5)


def losses(device: str, directory: Path, **trainer: Any) -> list[float]:
    """The loss of each of 20 steps of the deep network with augmentation, without dropout."""
    torch.manual_seed(0)
    net = DeepCNN(image_size=16)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # its random numbers differ between devices

    class Recorder(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            loss = super().training_step(batch, batch_idx)
            recorded.append(float(loss.detach()))
            return loss

    recorded: list[float] = []
    model = Recorder(net, lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.9))
    data = Shapes(320, 10, 16, batch_size=16, val_fraction=0, augment=[Flip(), ImageDataGenerator()])
    fit_on(device, directory, model, data, max_epochs=1, **trainer)
    assert len(recorded) == 20
    return recorded


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize(
    "trainer",
    [{}, {"callbacks": [EMA()]}, {"accumulate_grad_batches": 2}, {"gradient_clip_val": 0.1}],
    ids=["plain", "ema", "accumulated", "clipped"],
)
def test_20_steps_in_float32_agree_with_the_cpu(trainer: dict[str, Any], tmp_path: Path, record_property: Any) -> None:
    expected, found = losses("cpu", tmp_path / "cpu", **trainer), losses(DEVICE, tmp_path / "device", **trainer)
    difference = max(abs(a - b) / a for a, b in zip(expected, found, strict=True))
    record_property("figure", f"largest relative difference of a loss {difference:.1e}")
    assert difference < 1e-3
    averages = [last_checkpoint(tmp_path / name)["state_dict"] for name in ("cpu", "device")]
    weights = [torch.cat([own[name].cpu().flatten() for name in own if name.startswith("net.")]) for own in averages]
    torch.testing.assert_close(weights[1], weights[0], rtol=0, atol=1e-3)


def test_muon_orthogonalizes_as_on_the_cpu(device: torch.device, record_property: Any) -> None:
    matrix_MN = uniforms(64, 288, 0, 1) - 0.5
    expected_MN, found_MN = orthogonalize(matrix_MN, 5), orthogonalize(matrix_MN.to(device), 5).cpu()
    cosine = float(nn.functional.cosine_similarity(found_MN.float().flatten(), expected_MN.float().flatten(), dim=0))
    record_property("figure", f"cosine {cosine:.5f}")
    assert cosine > 0.999


@pytest.mark.parametrize(
    "deterministic", [True] if DEVICE == "cpu" else [True, False], ids=lambda one: f"deterministic {one}"
)
def test_a_run_killed_within_an_epoch_resumes(deterministic: bool, tmp_path: Path, record_property: Any) -> None:
    arguments = [
        *("--data=Shapes", "--data.train_size=240", "--data.test_size=10", "--data.image_size=16"),
        *("--data.batch_size=16", "--data.augment+=ImageDataGenerator", "--model.net=src.models.SpeedNet"),
        *("--model.net.image_size=16", "--model.optimizer=src.optim.Muon", "--trainer.max_epochs=2"),
        *("--trainer.callbacks+=src.callbacks.ema.EMA", "--trainer.default_callbacks.checkpoints.every_n_steps=1"),
        *(f"--trainer.accelerator={DEVICE}", "--trainer.devices=1", "--test_after_fit=false"),
        f"--trainer.deterministic={str(deterministic).lower()}",
    ]
    finish(*arguments, f"--trainer.default_root_dir={tmp_path / 'undisturbed'}")
    kill = ("--trainer.callbacks+=tests.gpu.probes.KillAt", "--trainer.callbacks.step=17")  # of 12 + 12
    process = start(*arguments, *kill, f"--trainer.default_root_dir={tmp_path / 'killed'}")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, output[-3000:]
    output = finish(f"--resume={tmp_path / 'killed'}", "--trainer.callbacks=[src.callbacks.ema.EMA]")
    assert "step 17" in output
    states = [last_checkpoint(tmp_path / name) for name in ("undisturbed", "killed")]
    flat = [torch.cat([value.cpu().double().flatten() for value in one["state_dict"].values()]) for one in states]
    difference = float((flat[0] - flat[1]).abs().max())
    record_property("figure", f"largest difference of a weight {difference:.1e}")
    if deterministic:
        for name in ("state_dict", "current_model_state", "optimizer_states"):
            torch.testing.assert_close(states[1][name], states[0][name], rtol=0, atol=0)
