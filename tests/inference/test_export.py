"""Exported networks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from src.data.image_spec import ImageSpec
from src.errors import UserError
from src.inference import exported_file
from src.inference.export import Comparison, compare, decoded, export
from src.inference.exported_file import METADATA, SUFFIXES, Exported, Format, load
from src.inference.image_classifier import ImageClassifier
from tests.conftest import ROOT

SPEC = ImageSpec(("a", "b", "c"), (0.5,) * 3, (0.2,) * 3, (8, 8), 3, "crop", stored_size=(10, 10))
METADATA_OF_TEST = {"classes": list(SPEC.classes), "image_spec": json.loads(json.dumps(asdict(SPEC))), "version": "1"}


def classifier(net: nn.Module | None = None) -> ImageClassifier:
    torch.manual_seed(0)
    return ImageClassifier(net or nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 3)), SPEC)


def images() -> Iterator[Tensor]:
    """Images of several sizes, in batches."""
    for shape in ((1, 10, 10), (3, 7, 40), (2, 100, 31), (1, 1, 1)):
        yield torch.randint(256, (*shape, 3), dtype=torch.uint8)


FORMATS = [pytest.param("torch-export", marks=pytest.mark.slow), pytest.param("onnx", marks=pytest.mark.export)]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.filterwarnings("default")  # those of the exporter
def test_an_exported_network_takes_images_of_any_size(form: Format, tmp_path: Path) -> None:
    output = tmp_path / f"new/model{SUFFIXES[form]}"
    compared = export(classifier(), output, form, images(), METADATA_OF_TEST, load)
    assert compared.images == compared.agreeing == 7 and compared.largest < 1e-5
    assert compare(classifier(), load(output).probabilities, images()).largest < 1e-5
    assert load(output).spec == SPEC
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    if form == "torch-export":
        saved = {METADATA: ""}
        torch.export.load(output, extra_files=saved)
        assert json.loads(saved[METADATA]) == METADATA_OF_TEST
    else:
        found = import_module("onnxruntime").InferenceSession(str(output)).get_modelmeta().custom_metadata_map
        assert json.loads(found["classes"]) == ["a", "b", "c"] and found["version"] == "1"


@pytest.mark.export
@pytest.mark.filterwarnings("default")
def test_a_quantized_network_is_smaller_and_refused_if_its_classes_differ(tmp_path: Path) -> None:
    output, own = tmp_path / "model.onnx", classifier(nn.Sequential(nn.Flatten(), nn.Linear(192, 64), nn.Linear(64, 3)))
    export(own, output, "onnx", images(), METADATA_OF_TEST, load)
    size = output.stat().st_size
    compared = export(own, output, "onnx", images(), METADATA_OF_TEST, load, images())
    assert compared.images == compared.agreeing == 7 and compared.largest > 0
    assert output.stat().st_size < size - 2 * 192 * 64 and load(output).spec == SPEC
    black = iter([torch.zeros(1, 8, 8, 3, dtype=torch.uint8)])
    with pytest.raises(
        UserError, match=r"the same class on \d of 7 images; at least 95% are needed.* without --quantize"
    ):
        export(own, output, "onnx", images(), METADATA_OF_TEST, load, black)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.export
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU6()])
def test_the_range_of_a_quantized_convolution_is_that_of_what_passes_its_relu(
    activation: nn.Module, tmp_path: Path
) -> None:
    own = classifier(nn.Sequential(nn.Conv2d(3, 4, 3), activation, nn.Flatten(), nn.Linear(144, 3)))
    export(own, output := tmp_path / "model.onnx", "onnx", images(), METADATA_OF_TEST, load, images())
    graph = import_module("onnx").load(output).graph
    (conv,) = (node for node in graph.node if node.op_type == "Conv")
    (after,) = (node for node in graph.node if conv.output[0] in node.input)
    quantized = (
        after if after.op_type == "QuantizeLinear" else next(n for n in graph.node if after.output[0] in n.input)
    )
    assert after.op_type in ("Relu", "Clip", "QuantizeLinear") and quantized.op_type == "QuantizeLinear"
    zero_point = next(one for one in graph.initializer if one.name == quantized.input[2])
    assert import_module("onnx").numpy_helper.to_array(zero_point) == 0  # nothing is kept for negative values


@pytest.mark.export
@pytest.mark.filterwarnings("default")
def test_the_example_of_the_docs_runs_without_the_project(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), (200, 10, 10)).save(tmp_path / "image.png")
    own = classifier()
    export(own, tmp_path / "model.onnx", "onnx", decoded(iter([f"{tmp_path}/image.png"]), own), METADATA_OF_TEST, load)
    example = re.findall(r"```text\n(import json\n.*?)```", (ROOT / "docs/inference.md").read_text(), re.DOTALL)
    done = subprocess.run([sys.executable, "-c", *example], cwd=tmp_path, capture_output=True, text=True, check=True)
    name, probability = done.stdout.split()
    expected_K = own(torch.tensor([[[[200, 10, 10]] * 30] * 20], dtype=torch.uint8))[0]
    assert name == SPEC.classes[int(expected_K.argmax())]
    assert float(probability) == pytest.approx(expected_K.max().item(), abs=1e-4)


def wrong(path: Path) -> Exported:
    return Exported(lambda images_BHWC: classifier()(images_BHWC) + torch.tensor([0.001, 0.0, 0.0]), SPEC)


def test_a_file_that_computes_something_else_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    output = tmp_path / "model.pt2"
    output.write_text("before")
    monkeypatch.setattr(exported_file, "_program", lambda own: None)
    monkeypatch.setattr(torch.export, "save", lambda program, path, extra_files: path.write_text("after"))
    with torch.inference_mode(), pytest.raises(UserError, match=r"by up to 0.001 in a probability"):
        export(classifier(), output, "torch-export", images(), {}, wrong)
    with pytest.raises(UserError, match="no image to compare"):
        export(classifier(), output, "torch-export", iter(()), {}, wrong)
    with pytest.raises(UserError, match=r"must end in \.onnx"):
        export(classifier(), output, "onnx", images(), {}, wrong)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]
    same = export(classifier(), output, "torch-export", images(), {}, lambda path: Exported(classifier(), SPEC))
    assert same == Comparison(7, 0.0, 7)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["after"]


class DependsOnValues(nn.Module):
    def forward(self, images_BCHW: Tensor) -> Tensor:
        return images_BCHW.mean((2, 3)) if images_BCHW.sum() > 0 else images_BCHW.amax((2, 3))


class Bessel(nn.Module):
    """Has an operator that ONNX has not."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return torch.special.bessel_j0(images_BCHW).mean((2, 3))


@pytest.mark.export
@pytest.mark.filterwarnings("default")
def test_a_network_that_onnx_cannot_express_is_refused_with_the_format_that_can(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ONNX cannot express the network: .*--format torch-export"):
        export(classifier(Bessel()), tmp_path / "model.onnx", "onnx", images(), METADATA_OF_TEST, load)
    output = tmp_path / "model.pt2"
    assert export(classifier(Bessel()), output, "torch-export", images(), METADATA_OF_TEST, load).agreeing == 7


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pt2").write_bytes(b"no archive")
    with pytest.raises(UserError, match="is not a file of `python -m src export`"):
        load(tmp_path / "a.pt2")


@pytest.mark.slow
def test_a_network_that_cannot_be_exported_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be exported: .*--format safetensors"):
        export(classifier(DependsOnValues()), tmp_path / "model.pt2", "torch-export", images(), {}, load)
    assert not list(tmp_path.iterdir())
