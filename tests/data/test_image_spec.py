from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from src.data import ImageFolder
from src.data.image_spec import ImageSpec
from src.data.storage.decode import decode
from src.runtime.checkpoint_file import read, write
from tests.data.test_image_folder import fill
from tests.toys import Linear, classifier, fit, trainer

SPEC = ImageSpec(("a", "b"), (0.5, 0.0), (0.5, 0.25), (1, 2), 2)


def test_images_are_normalized_by_channel() -> None:
    images_BCHW = torch.tensor([[[[0.0, 1.0]], [[0.5, 0.25]]]])
    assert SPEC.normalize(images_BCHW).tolist() == [[[[-1.0, 1.0]], [[2.0, 1.0]]]]


def folder(root: Path, **kwargs) -> ImageFolder:
    return ImageFolder(str(root), image_size=4, cache_dir=f"{root}-cache", batch_size=8, **kwargs)


def test_a_checkpoint_alone_classifies_a_file(tmp_path: Path) -> None:
    """As the prediction of the run does."""
    data = folder(fill(tmp_path / "p"), test_fraction=0.3)
    torch.manual_seed(0)
    model = classifier(net=Linear(2), num_classes=2, optimizer=lambda params: torch.optim.SGD(params, lr=0.1))
    fit(tmp_path / "run", model, data, max_epochs=3)
    saved = read(tmp_path / "run/checkpoints/best.ckpt")
    spec = ImageSpec(**saved["spec"])
    net = Linear(2)
    net.load_state_dict({name.removeprefix("net."): value for name, value in saved["state_dict"].items()})
    pixels, _ = decode(tmp_path / "p/light/7.png", spec.size[0], spec.resize, spec.white)
    assert pixels is not None
    logits_1K = net(spec.normalize(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255))
    assert spec.classes == ("dark", "light") and spec.classes[int(logits_1K.argmax())] == "light"
    predicting = trainer(tmp_path / "run")
    (rows,) = predicting.predict(model, datamodule=data, ckpt_path=str(tmp_path / "run/checkpoints/best.ckpt"))  # pyright: ignore[reportGeneralTypeIssues]
    images_NHWC, _ = data.image_set("test")
    (same,) = [i for i, image in enumerate(images_NHWC) if torch.equal(image, torch.from_numpy(pixels.copy()))]
    torch.testing.assert_close(rows["probabilities"][same], logits_1K.softmax(-1)[0])  # pyright: ignore


def test_an_evaluation_uses_classes_and_normalization_of_the_run(tmp_path: Path) -> None:
    """On a folder with darker training images, whose classes are in another order and one of which is missing."""
    model = classifier(net=Linear(3), num_classes=3)
    root = fill(tmp_path / "p/train")
    for kind, gray in {"bright": 250, "mid": 100}.items():
        (root / kind).mkdir()
        Image.new("L", (6, 6), gray).save(root / kind / "1.png")
    (root / "mid").rename(tmp_path / "unused")
    fill(tmp_path / "p/test")
    (tmp_path / "p/test/bright").mkdir()
    run = fit(tmp_path / "run", model, folder(tmp_path / "p", val_fraction=0.0))
    (before,) = run.test(model, folder(tmp_path / "p"), ckpt_path=str(tmp_path / "run/checkpoints/last.ckpt"))
    other = tmp_path / "other"
    fill(other / "train", count=3)
    fill(other / "test")
    fresh = classifier(net=Linear(3), num_classes=3)
    data = folder(other)
    (after,) = trainer(tmp_path / "run").test(fresh, data, ckpt_path=str(tmp_path / "run/checkpoints/last.ckpt"))
    assert data.classes == ("bright", "dark", "light")
    assert data.image_set("test").labels_N.tolist() == [1] * 10 + [2] * 10
    assert {key: after[key] for key in ("test/acc", "test/loss")} == {
        key: pytest.approx(before[key]) for key in ("test/acc", "test/loss")
    }


def test_an_older_checkpoint_takes_both_from_the_data(tmp_path: Path) -> None:
    data = folder(fill(tmp_path / "p"))
    fit(tmp_path / "run", classifier(net=Linear(2), num_classes=2), data)
    path = tmp_path / "run/checkpoints/last.ckpt"
    write({name: value for name, value in read(path).items() if name != "spec"}, path)
    model = classifier(net=Linear(2), num_classes=2)
    trainer(tmp_path / "run").test(model, data, ckpt_path=str(path))
    assert model.spec == data.spec
    assert model.spec is not None and model.spec.classes == ("dark", "light")


@pytest.mark.parametrize("multi_label, expected", [(False, [0.75, 0.25]), (True, [0.75, 0.5])])
def test_probabilities_of_several_labels_are_of_each_class_alone(multi_label: bool, expected: list[float]) -> None:
    spec = replace(SPEC, multi_label=multi_label)
    torch.testing.assert_close(spec.probabilities(torch.tensor([[3.0, 1.0]]).log()), torch.tensor([expected]))
