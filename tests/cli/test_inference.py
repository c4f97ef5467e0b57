"""The subcommands that use a trained network without the data of its run."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from PIL import Image

from src.cli import trained_run
from src.cli.overview import answer
from src.data import Shapes
from src.data.image_spec import ImageSpec
from src.inference.exported_file import METADATA, SUFFIXES, Format
from src.runtime.checkpoint_file import read, write


@pytest.fixture(scope="module")
def run_directory(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(tiny_run, tmp_path_factory.mktemp("run") / "a")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """The first test images of the run's dataset as PNG files of their own size, and one that is damaged."""
    folder = tmp_path / "images"
    folder.mkdir()
    for index, image_HWC in enumerate(Shapes(train_size=120, test_size=40, image_size=12).read("test").images_NHWC[:9]):
        Image.fromarray(image_HWC.numpy()).save(folder / f"{index}.png")
    (folder / "damaged.png").write_bytes(b"no image")
    return folder


@pytest.mark.slow
def test_files_get_the_probabilities_of_the_same_images_in_the_test_set(
    run_directory: Path, images: Path, cli: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text(f"{images}\n")
    with pytest.raises(SystemExit) as stop:
        cli("predict", f"--run={run_directory}", "--list=list.txt", "--top_k=2", "--num_workers=0")
    assert stop.value.code == 3
    cli("predict", f"--run={run_directory}", "--trainer.default_root_dir=test_set")
    of_files = list(csv.DictReader((run_directory / "file_predictions.csv").read_text().splitlines()))
    of_test_set = list(csv.DictReader((tmp_path / "test_set/predictions.csv").read_text().splitlines()))
    assert [Path(row["path"]).name for row in of_files] == [f"{index}.png" for index in range(9)]
    for row, expected in zip(of_files, of_test_set[:9], strict=True):
        assert row["class"] == expected["predicted"]
        assert float(row["probability"]) == pytest.approx(float(expected[f"p({row['class']})"]), abs=1e-5)


@pytest.mark.slow
def test_the_network_of_a_checkpoint(run_directory: Path, fails: Callable[..., str], tmp_path: Path) -> None:
    trained = trained_run.load(str(run_directory))
    saved = read(run_directory / "checkpoints/best.ckpt")
    for name, value in trained.classifier.net.state_dict().items():
        assert torch.equal(value, saved["state_dict"][f"net.{name}"])
    assert trained.directory == run_directory and not trained.classifier.net.training
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    without_biases = {name: value for name, value in saved["state_dict"].items() if "bias" not in name}
    write({**saved, "state_dict": without_biases}, tmp_path / "other.ckpt")
    assert "is of another network" in fails("predict", "--run=other.ckpt", "a.png")
    del saved["config"]
    write(saved, tmp_path / "python.ckpt")
    assert "as it was made from Python" in fails("predict", "--run=python.ckpt", "a.png")


def test_a_network_whose_head_was_replaced_for_the_classes_of_the_data(tmp_path: Path) -> None:
    net = torchvision.models.squeezenet1_1(num_classes=3)
    spec = ImageSpec(("a", "b", "c"), (0.0,) * 3, (1.0,) * 3, (32, 32), 3)
    weights = {f"net.{name}": value for name, value in net.state_dict().items()}
    config = {"model": {"net": {"class_path": "torchvision.models.squeezenet1_1"}}}
    write({"config": config, "spec": asdict(spec), "state_dict": weights}, tmp_path / "a.ckpt")
    classifier = trained_run.load(str(tmp_path / "a.ckpt")).classifier
    assert classifier(torch.zeros(1, 40, 50, 3, dtype=torch.uint8)).shape == (1, 3)


def test_the_help_of_predict_names_its_arguments_and_says_what_it_does_without_files(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert answer(["predict", "--run", "a", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--top_k" in text and "Without PATH, the test set" in text


FORMATS = [
    pytest.param("torch-export", marks=pytest.mark.slow),
    *(pytest.param(form, marks=pytest.mark.export) for form in ("onnx", "safetensors")),
]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.filterwarnings("default")  # those of the exporter
def test_an_exported_file_predicts_as_the_run(
    form: Format, run_directory: Path, images: Path, cli: Callable[..., None], tmp_path: Path, capsys: Any
) -> None:
    exported, expected = tmp_path / f"model{SUFFIXES[form]}", tmp_path / "run.csv"
    with pytest.raises(SystemExit) as stop:
        cli("export", f"--run={run_directory}", f"--format={form}", f"--output={exported}", "--compare_images=20")
    assert stop.value.code == 0
    assert "20 of 20 images have the same class" in capsys.readouterr().out  # of validation
    Image.effect_noise((40, 30), 80).save(images / "other_size.png")
    for source in (f"--exported={exported}", (f"--run={run_directory}", f"--output={expected}")):
        with pytest.raises(SystemExit) as stop:
            cli("predict", *([source] if isinstance(source, str) else source), str(images), "--num_workers=0")
        assert stop.value.code == 3  # one image is damaged
    rows, expected_rows = (
        list(csv.DictReader(path.read_text().splitlines())) for path in (tmp_path / "file_predictions.csv", expected)
    )
    assert len(rows) == 10 and [row["class"] for row in rows] == [row["class"] for row in expected_rows]
    for row, of_run in zip(rows, expected_rows, strict=True):
        assert float(row["probability"]) == pytest.approx(float(of_run["probability"]), abs=1e-4)


@pytest.mark.parametrize("suffix", SUFFIXES.values())
def test_an_exported_file_that_does_not_exist_is_named(suffix: str, fails: Callable[..., str]) -> None:
    assert fails("predict", f"--exported=nowhere{suffix}", "a.png") == f"--exported nowhere{suffix} is not a file.\n"


@pytest.mark.parametrize("arguments, words", [([], "--exported needs PATH"), (["a.png", "--trainer.x=1"], "trainer.x")])
def test_predict_by_an_exported_file_takes_no_arguments_of_test(
    arguments: list[str], words: str, cli: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli("predict", "--exported=model.onnx", *arguments)
    assert stop.value.code == 2 and words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("predict --batch_size=0", "--batch_size 0 must be at least 1"),
        ("predict --num_workers=-1", "--num_workers -1 must be at least 0"),
        ("predict --max_pixels=0", "--max_pixels 0 must be at least 1"),
        ("predict --white=-1", "--white -1 must be above 0"),
        ("predict --white=nan", "--white nan must be above 0"),
        ("export --format=onnx --compare_images=0", "--compare_images 0 must be at least 1"),
        ("demo --max_upload=0", "--max_upload 0 must be at least 1"),
        ("demo --port=-1", "--port -1 must be at least 0"),
    ],
)
def test_a_number_out_of_range_is_refused(arguments: str, words: str, fails: Callable[..., str]) -> None:
    assert fails(*arguments.split(), "--run=nowhere") == f"{words}.\n"


def test_only_onnx_is_quantized(fails: Callable[..., str]) -> None:
    assert "is for --format onnx" in fails("export", "--run=a", "--format=torch-export", "--quantize=int8")


@pytest.mark.export
def test_safetensors_with_the_architecture_as_json_give_identical_logits(
    run_directory: Path, images: Path, cli: Callable[..., None], fails: Callable[..., str], tmp_path: Path
) -> None:
    output = tmp_path / "model.safetensors"
    with pytest.raises(SystemExit) as stop:
        cli("export", f"--run={run_directory}", "--format=safetensors", f"--output={output}", str(images))
    assert stop.value.code == 0
    saved = json.loads((tmp_path / "model.json").read_text())
    assert saved["net"]["class_path"] == "src.models.SimpleCNN" and saved["net"]["init_args"]["image_size"] == 12
    assert {"classes", "image_spec", "config", "version", "checkpoint_sha256"} <= saved.keys()
    images_BHWC = torch.randint(256, (5, 17, 12, 3), dtype=torch.uint8)
    own, loaded = (trained_run.load(str(path)).classifier for path in (run_directory, output))
    logits_BK, loaded_BK = (one.net(one.preprocessing(images_BHWC)) for one in (own, loaded))
    assert torch.equal(loaded_BK, logits_BK) and loaded.spec == own.spec
    output.write_bytes(output.read_bytes()[:-1] + b"x")
    assert "its checksum differs" in fails("predict", f"--run={output}", str(images))
    (tmp_path / "model.json").unlink()
    assert "model.json next to it" in fails("predict", f"--run={output}", str(images))


@pytest.mark.slow
def test_export_writes_a_file_with_the_classes_and_the_configuration(
    run_directory: Path, images: Path, cli: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli("export", f"--run={run_directory}", "--format=torch-export", str(images))
    assert stop.value.code == 0
    assert "9 of 9 images have the same class" in capsys.readouterr().out
    saved = {METADATA: ""}
    torch.export.load(run_directory / "export/model.pt2", extra_files=saved)
    metadata = json.loads(saved[METADATA])
    assert metadata["classes"] == list(Shapes(train_size=120).classes)
    assert metadata["config"]["model"]["net"]["class_path"] == "src.models.SimpleCNN"
