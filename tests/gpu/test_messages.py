"""What a user reads about the device."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from src.runtime.precision import native_precision
from tests.gpu.conftest import DEVICE


class TooLarge(nn.Module):
    """Needs more memory than there is in its first training step."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 12 * 12, 10)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        if torch.is_grad_enabled() and DEVICE == "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 PiB.")
        if torch.is_grad_enabled():
            torch.empty(2**50, dtype=torch.uint8, device=images_BCHW.device)
        return self.layer(images_BCHW.flatten(1))


def test_out_of_memory_ends_in_one_paragraph_that_names_the_batch_size(
    cli: Callable[..., None], tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (*tiny, "--model.net=tests.gpu.test_messages.TooLarge", f"--trainer.accelerator={DEVICE}")
    with pytest.raises(SystemExit) as raised:
        cli("fit", *[own for own in arguments if "net.image_size" not in own])
    text = capsys.readouterr().err
    assert raised.value.code == 2
    assert "Traceback" not in text
    assert "out of memory" in text
    assert "data.batch_size" in text


def test_the_doctor_names_card_driver_memory_and_precision(
    cli: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str], record_property: Callable[..., None]
) -> None:
    with pytest.raises(SystemExit):
        cli("doctor")
    text = capsys.readouterr().out
    line = next(line for line in text.splitlines() if " machine: " in line)
    record_property("figure", line.partition(", ")[2])
    if DEVICE == "cuda":
        assert torch.cuda.get_device_name(0) in line and " GB), driver " in line
        assert f"auto becomes {native_precision()}" in text
    else:
        assert " cores, " in line and "precision: auto becomes" in text
