"""The weights that training starts from."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from src.errors import UserError
from src.runtime.checkpoint_file import read
from src.runtime.initial_weights import load_initial_weights
from tests.runtime.test_checkpoint_file import Touch
from tests.toys import Linear, Squares, classifier, fit, last_checkpoint


def net(num_classes: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.Linear(5, num_classes))


WEIGHTS = {name: torch.full_like(value, 0.5) for name, value in net().state_dict().items()}


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "net."])
@pytest.mark.parametrize("entry", [None, "state_dict", "model"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_weights_is_taken_whatever_its_form(
    prefix: str, entry: str | None, zipped: bool, tmp_path: Path
) -> None:
    weights: dict[str, Any] = {prefix + name: value for name, value in WEIGHTS.items()}
    torch.save({entry: weights} if entry else weights, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    model = classifier(net=net())
    lines = load_initial_weights(model, str(tmp_path / "w.pth"))
    assert lines == [f"init_from {tmp_path / 'w.pth'} gives 4 of 4 tensors, from net.1.weight to net.2.bias"]
    assert all(bool((value == 0.5).all()) for value in model.state_dict().values())


def test_what_does_not_fit_is_listed_and_keeps_its_initial_values(tmp_path: Path) -> None:
    torch.save({**WEIGHTS, "other": torch.zeros(1)}, tmp_path / "w.pth")
    model = classifier(net=net(4), num_classes=4)
    before = model.state_dict()["net.2.weight"].clone()
    taken, rest = load_initial_weights(model, str(tmp_path / "w.pth"))
    assert "gives 2 of 4 tensors" in taken
    assert "net.2.weight is (4, 5) here and (3, 5) in the checkpoint" in rest
    assert "net.other (1,) is only in the checkpoint" in rest
    torch.testing.assert_close(model.state_dict()["net.2.weight"], before)
    assert float(model.state_dict()["net.1.weight"][0, 0]) == 0.5


def save(content: Any) -> Any:
    return lambda path: torch.save(content, path)


@pytest.mark.parametrize(
    "write, match",
    [
        (save({name: torch.zeros(1) for name in "ab"}), "no parameter fits: net.1.weight .5, 48. is not in the check"),
        (save({"epoch": 3}), "has no weights: neither tensors by their names"),
        (save([1, 2]), "has no weights"),
        (save(net()), "is refused: it contains objects other than tensors"),
        (save({"state_dict": WEIGHTS, "code": Touch(Path("never"))}), "is refused: it contains objects other than"),
        (lambda path: path.write_bytes(b"not a pickle"), "cannot be read|is refused"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
    ],
    ids=["another network", "no weights", "a list", "a pickled network", "code", "another file", "empty"],
)
def test_what_cannot_be_taken_is_refused_in_one_paragraph(write: Any, match: str, tmp_path: Path) -> None:
    write(tmp_path / "w.pth")
    with pytest.raises(UserError, match=match) as caught:
        load_initial_weights(classifier(net=net()), str(tmp_path / "w.pth"))
    assert "\n" not in str(caught.value)


@pytest.mark.export
def test_safetensors_are_taken(tmp_path: Path) -> None:
    safetensors = import_module("safetensors.torch")
    safetensors.save_file(WEIGHTS, tmp_path / "w.safetensors")
    model = classifier(net=net())
    load_initial_weights(model, str(tmp_path / "w.safetensors"))
    assert float(model.state_dict()["net.1.weight"][0, 0]) == 0.5
    (tmp_path / "w.safetensors").write_bytes(b"0" * 20)
    with pytest.raises(UserError, match="cannot be read"):
        load_initial_weights(model, str(tmp_path / "w.safetensors"))


def test_a_checkpoint_gives_its_weights_and_its_normalization(tmp_path: Path) -> None:
    data = Squares()
    data.mean, data.std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    fit(tmp_path / "first", data=data)
    source = str(tmp_path / "first/checkpoints/last.ckpt")
    second = Squares()
    model = classifier(init_from=source, optimizer=lambda params: torch.optim.SGD(params, lr=0.0))
    fit(tmp_path / "second", model, second)
    torch.testing.assert_close(dict(model.state_dict()), read(source)["state_dict"], rtol=0, atol=0)
    assert (second.mean, second.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert last_checkpoint(tmp_path / "second")["spec"]["mean"] == (0.1, 0.2, 0.3)


def test_the_normalization_of_pretrained_weights_does_not_replace_a_configured_one(tmp_path: Path) -> None:
    pretrained: Any = net()
    pretrained.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    torch.save(WEIGHTS, tmp_path / "w.pth")
    for normalize, mean in (("standard", (0.5, 0.5, 0.5)), ("unit", (0.0, 0.0, 0.0))):
        data = Squares(normalize=normalize)
        fit(tmp_path / normalize, classifier(net=pretrained, init_from=str(tmp_path / "w.pth")), data)
        assert last_checkpoint(tmp_path / normalize)["spec"]["mean"] == mean


def test_one_parameter_that_fits_suffices(tmp_path: Path) -> None:
    weights: dict[str, Tensor] = {"layer.bias": torch.ones(3)}
    torch.save(weights, tmp_path / "w.pth")
    model = classifier(net=Linear())
    load_initial_weights(model, str(tmp_path / "w.pth"))
    assert model.net.layer.bias.tolist() == [1.0, 1.0, 1.0]  # pyright: ignore
