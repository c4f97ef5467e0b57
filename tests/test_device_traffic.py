"""What a training step copies to a device and where it waits for it, counted on `meta` in place of a GPU."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from packaging.version import Version

from src.callbacks.ema import EMA
from src.cli.doctor.command import DoctorCLI
from src.data import datamodule
from src.data.augment import Cutout, Flip
from src.runtime.default_callbacks import DefaultCallbacks
from tests.meta_device import META, DeviceTraffic, fit_on_meta, trainer_on_meta
from tests.recipes import RECIPES, on_shapes
from tests.toys import CallAt, Interrupted, Linear, NormalizedLinear, Squares, classifier

INDICES = 1  # the copies of a step: where its samples lie in the dataset
IS_OLD = Version(torch.__version__) < Version("2.15")
sees_new_tensors = pytest.mark.skipif(IS_OLD, reason="older torch hides the copies of torch.tensor")


@pytest.fixture(autouse=True)
def from_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies to `meta` as to a GPU, without one, whose memory cannot be pinned."""
    monkeypatch.setattr(datamodule, "_FROM_PINNED_MEMORY", ("meta",))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(torch.accelerator, "get_memory_info", lambda device: (10**9, 10**9))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_step_of_a_recipe_copies_the_indices_and_never_waits(recipe: Path, tmp_path: Path) -> None:
    config = on_shapes(recipe, tmp_path, train_size=90, test_size=10, batch_size=20, val_fraction=0)
    cli = DoctorCLI(["doctor", f"--config={config}"])
    traffic = fit_on_meta(
        tmp_path,
        cli.model,
        cli.datamodule,
        callbacks=[EMA()],
        gradient_clip_val=1.0,
        accumulate_grad_batches=2,
        # torch.autocast, which its computation of initial weights turns off, does not know `meta`.
        default_callbacks=DefaultCallbacks(data_dependent_init=None),
    )
    assert len(traffic.copies) == INDICES * traffic.steps, traffic.copies
    assert traffic.waits == []
    assert traffic.created == []


@sees_new_tensors
def test_the_dataset_moves_once(tmp_path: Path) -> None:
    data = Squares(val_fraction=0, augment=[Flip(), Cutout(2)])
    data.mean, data.std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)  # which no other test has copied
    # Before the first step: the images, the labels, the random numbers of two augmentations, mean and std.
    traffic = fit_on_meta(tmp_path, classifier(), data, first=0, last=4)
    assert len(traffic.copies) == 6 + INDICES * traffic.steps, traffic.copies
    assert {one.device for one in data.image_set("train")} == {META}


def test_a_dataset_that_does_not_fit_stays_and_is_copied_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "get_memory_info", lambda device: (100, 100))
    data = Squares(val_fraction=0, augment=[Flip()])
    traffic = fit_on_meta(tmp_path, classifier(), data)
    assert len(traffic.copies) == 3 * traffic.steps, traffic.copies  # indices, images, labels
    assert traffic.waits == []
    assert {one.device.type for one in data.image_set("train")} == {"cpu"}


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.sum() > 0),
        lambda x: x.cpu(),
        lambda x: x[x > 0],
        pytest.param(lambda x: x + torch.tensor([1.0], device=x.device), marks=sees_new_tensors),
        pytest.param(lambda x: x + x.new_tensor([1.0]), marks=sees_new_tensors),
        lambda x: x + torch.ones(1).to(x.device),
        lambda x: x.copy_(torch.ones(1)),
    ],
    ids=["item", "bool", "cpu", "mask", "tensor", "new_tensor", "to", "copy"],
)
def test_each_kind_of_waiting_is_found(tmp_path: Path, wait: Any) -> None:
    class Waits(Linear):
        def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
            if self.training:
                wait(images_BCHW.detach().clone())
            return super().forward(images_BCHW)

    default = DefaultCallbacks(preflight=None, model_summary=None)
    traffic = fit_on_meta(tmp_path, classifier(net=Waits()), Squares(val_fraction=0), default_callbacks=default)
    assert len(traffic.waits) == traffic.steps, traffic.waits


def test_lightning_waits_in_each_update_of_an_average(tmp_path: Path) -> None:
    """Why `EMA` does not update by it."""
    traffic = fit_on_meta(tmp_path, classifier(), Squares(val_fraction=0), callbacks=[EMAWeightAveraging()])
    assert len(traffic.waits) == 2 * traffic.steps, traffic.waits


def test_a_run_that_is_resumed_tested_and_predicts_mixes_no_devices(tmp_path: Path) -> None:
    """An operation on tensors of two devices fails. Without inference mode, in which the dispatcher sees less."""
    options = {"max_epochs": 2, "every_n_steps": 1, "inference_mode": False, "logger": True, "log_every_n_steps": 1}
    with DeviceTraffic(steps=0):
        with pytest.raises(Interrupted):
            stop = CallAt("on_train_batch_end", 5)
            trainer_on_meta(tmp_path, callbacks=[EMA(), stop], **options).fit(
                classifier(net=NormalizedLinear()), datamodule=Squares()
            )
        fitted = trainer_on_meta(tmp_path, callbacks=[EMA()], **options)
        fitted.fit(classifier(net=NormalizedLinear()), datamodule=Squares(), resume=str(tmp_path))  # tests at its end
        fitted.predict(classifier(net=NormalizedLinear()), datamodule=Squares(), ckpt_path="best")
    assert fitted.global_step == 8
    assert "test" in json.loads((tmp_path / "results.json").read_text())
    assert (tmp_path / "predictions.csv").is_file()
