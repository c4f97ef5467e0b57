from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from src.data import ImageFolder
from src.data.augment import RandomResizedCrop
from src.errors import UserError
from tests.conftest import ROOT

Run = Callable[..., None]
Fails = Callable[..., str]


def fill(folder: Path, count: int = 10, size: int = 6) -> Path:
    """Two classes, dark and light; each image has another gray value."""
    for label, kind in enumerate(("dark", "light")):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.new("L", (size, size), 150 * label + number).save(folder / kind / f"{number}.png")
    return folder


def data(root: Path, **kwargs) -> ImageFolder:
    return ImageFolder(str(root), **{"image_size": 4, "cache_dir": str(root.parent / "cache"), **kwargs})


def ready(root: Path, stage: str = "fit", **kwargs) -> ImageFolder:
    made = data(root, **kwargs)
    made.prepare_data()
    made.setup(stage)
    return made


def grays(made: ImageFolder, subset: str, indices: torch.Tensor) -> set[int]:
    return set(made.image_set(subset).images_NHWC[indices, 0, 0, 0].tolist())  # pyright: ignore[reportArgumentType]


def test_classes_are_known_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "p/b").mkdir(parents=True)
    (tmp_path / "p/a").mkdir()
    made = data(tmp_path / "p")
    assert made.classes == ("a", "b") and made.num_classes == 2
    assert not (tmp_path / "cache").exists()


def test_each_image_of_an_undivided_folder_is_in_one_subset(tmp_path: Path) -> None:
    made = ready(fill(tmp_path / "p"), val_fraction=0.25, test_fraction=0.3)
    made.setup("test")
    train = grays(made, "train", made.train_indices)
    val = grays(made, "train", made.val_indices)
    test = grays(made, "test", torch.arange(len(made.image_set("test").labels_N)))
    assert all((train, val, test)) and len(train) + len(val) + len(test) == 20
    assert train | val | test == {*range(10), *range(150, 160)}
    for subset in ("train", "test"):
        images_NHWC, labels_N = made.image_set(subset)
        assert ((images_NHWC[:, 0, 0, 0] >= 150).long() == labels_N).all()


def test_a_val_folder_is_divided_into_folds_too(tmp_path: Path) -> None:
    for subset in ("train", "val"):
        fill(tmp_path / "p" / subset, 6)
    made = ready(tmp_path / "p", folds=3, fold=2)
    assert len(made.train_indices) + len(made.val_indices) == len(made.image_set("train").labels_N)
    assert len(made.val_indices) == len(made.image_set("train").labels_N) // 3


def test_train_val_and_test_folders_are_the_split(tmp_path: Path) -> None:
    for subset, count in {"train": 6, "val": 3, "test": 2}.items():
        fill(tmp_path / "p" / subset, count)
    made = ready(tmp_path / "p", val_fraction=0.9)
    assert grays(made, "train", made.train_indices) == {*range(6), *range(150, 156)}
    assert grays(made, "train", made.val_indices) == {*range(3), *range(150, 153)}
    assert len(made.val_indices) == 6
    made.setup("test")
    assert made.image_set("test").labels_N.tolist() == [0, 0, 1, 1]
    assert made.has_test


def test_without_val_the_training_images_are_split(tmp_path: Path) -> None:
    fill(tmp_path / "p/train")
    made = ready(tmp_path / "p", val_fraction=0.2, split="stratified")
    assert made.image_set("train").labels_N[made.val_indices].tolist() == [0, 0, 1, 1]


def test_mean_and_std_are_measured_or_given(tmp_path: Path) -> None:
    root = fill(tmp_path / "p", count=1)  # values of 0 and 150: mean and std are 75
    assert ready(root, test_fraction=0.0, val_fraction=0.0).mean == (round(75 / 255, 4),) * 3
    assert ready(root, test_fraction=0.0, val_fraction=0.0).std == (round(75 / 255, 4),) * 3
    given = ready(root, test_fraction=0.0, val_fraction=0.0, mean=[0.1, 0.2, 0.3], std=[1, 2, 3])
    assert given.mean == (0.1, 0.2, 0.3) and given.std == (1, 2, 3)


def test_validation_does_not_move_when_a_file_is_added(tmp_path: Path) -> None:
    root = fill(tmp_path / "p", count=40)
    before = ready(root, val_fraction=0.3)
    val = grays(before, "train", before.val_indices)
    Image.new("L", (6, 6), 101).save(root / "dark" / "00.png")
    (root / "light" / "9.png").unlink()
    after = ready(root, val_fraction=0.3)
    assert grays(after, "train", after.val_indices) - {101} == val - {159}
    assert after.image_set("train").labels_N[after.val_indices].bincount().min() > 4
    other = ready(root, val_fraction=0.3, split_seed=1)
    assert grays(other, "train", other.val_indices) - {101} != val - {159}


def test_an_evaluation_uses_the_white_of_the_model(tmp_path: Path) -> None:
    for kind in ("dark", "light"):
        (tmp_path / "p" / kind).mkdir(parents=True)
        Image.fromarray(np.full((4, 4), 1000, np.uint16)).save(tmp_path / "p" / kind / "1.png")
    first = ready(tmp_path / "p", test_fraction=0.0, val_fraction=0.0)
    assert first.spec.white == {"16-bit PNG": 1023}
    model = dataclasses.replace(first.spec, white={"16-bit PNG": 4095})
    evaluated = data(tmp_path / "p", test_fraction=0.0, val_fraction=0.0)
    evaluated.use_spec(model)
    evaluated.setup("validate")
    assert grays(evaluated, "train", torch.arange(2)) == {round(1000 / 4095 * 255)}
    assert evaluated.spec.white == model.white
    evaluated = data(tmp_path / "p", test_fraction=0.0, white=4095)  # as in the configuration of a run
    evaluated.use_spec(model)
    other = data(tmp_path / "p", test_fraction=0.0, white=1023)
    with pytest.raises(
        UserError, match=r"data\.white 1023 belongs to the model, .* white is 4095 in 16-bit PNG images"
    ):
        other.use_spec(model)
    other.use_spec(dataclasses.replace(model, white={}))  # which was trained on images of 8 bits


def labeled(folder: Path, rows: list[str], **kwargs) -> ImageFolder:
    """40 images of the gray values 0 to 39 in one folder, with the labels of a CSV file."""
    (folder / "p").mkdir(exist_ok=True)
    for number in range(40):
        Image.new("L", (6, 6), number).save(folder / "p" / f"{number}.png")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return ready(folder / "p", labels=str(folder / "labels.csv"), **kwargs)


def test_labels_from_a_file_with_groups(tmp_path: Path) -> None:
    rows = [f"{number}.png,{'odd' if number % 2 else 'even'},{number // 4}" for number in range(40)]
    made = labeled(tmp_path, ["path,label,group", *rows], val_fraction=0.3, test_fraction=0.2)
    made.setup("test")
    assert made.classes == ("even", "odd")
    train, val = (grays(made, "train", indices) for indices in (made.train_indices, made.val_indices))
    test = grays(made, "test", torch.arange(len(made.image_set("test").labels_N)))
    assert all((train, val, test)) and train | val | test == set(range(40))
    groups = [{number // 4 for number in subset} for subset in (train, val, test)]
    assert sum(map(len, groups)) == 10  # no group is in two
    images_NHWC, labels_N = made.image_set("train")
    assert (images_NHWC[:, 0, 0, 0] % 2 == labels_N).all()


def test_a_split_that_separates_groups_is_refused(tmp_path: Path) -> None:
    rows = [f"{number}.png,{'ab'[number % 2]},{number // 4}" for number in range(40)]
    with pytest.raises(ValueError, match="split stratified would separate the images of a group"):
        labeled(tmp_path, ["path,label,group", *rows], split="stratified")


def test_labels_from_a_file_with_subsets(tmp_path: Path) -> None:
    rows = [f"{number}.png,{'ab'[number % 2]},{('train', 'val', 'test')[number // 4]}" for number in range(12)]
    made = labeled(tmp_path, ["path,label,subset", *rows])
    made.setup("test")
    assert grays(made, "train", made.train_indices) == {0, 1, 2, 3}
    assert grays(made, "train", made.val_indices) == {4, 5, 6, 7}
    assert grays(made, "test", torch.arange(4)) == {8, 9, 10, 11}


def test_images_with_several_classes(tmp_path: Path) -> None:
    """The columns are whether the gray value is odd, and whether it is at least 20."""
    rows = [f"{number % 2},{number}.png,{int(number >= 20)}" for number in range(40)]
    made = labeled(tmp_path, ["odd,path,high", *rows], val_fraction=0.3, test_fraction=0.2)
    made.setup("test")
    assert made.classes == ("odd", "high") and made.multi_label and made.spec.multi_label
    for subset in ("train", "test"):
        images_NHWC, labels_NK = made.image_set(subset)
        grays_N = images_NHWC[:, 0, 0, 0].long()
        assert torch.equal(labels_NK, torch.stack([grays_N % 2, (grays_N >= 20).long()], 1))
    assert made.class_counts().tolist() == made.image_set("train").labels_N[made.train_indices].sum(0).tolist()
    split: dict[str, Any] = {"split": "stratified", "val_fraction": 0.25, "test_fraction": 0.0}
    again = ready(tmp_path / "p", labels=str(tmp_path / "labels.csv"), **split)
    of_val_N2 = again.image_set("train").labels_N[again.val_indices]
    assert sorted(of_val_N2.unique(dim=0, return_counts=True)[1].tolist()) == [2, 2, 3, 3]  # of each combination


def test_a_class_that_no_training_image_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no training files in gone"):
        labeled(tmp_path, ["path,red,gone", "1.png,1,0", "2.png,0,0"], test_fraction=0.0)


def test_a_file_that_a_label_names_in_vain_is_a_bad_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"1 of 3 files .*\n  gone.png: No such file or directory"):
        labeled(tmp_path, ["path,label", "1.png,a", "2.png,b", "gone.png,a"], test_fraction=0.0)
    with pytest.raises(UserError, match=r"labels.csv has 1 classes, and rows of train"):
        labeled(tmp_path, ["path,label", "1.png,a"])


def test_all_of_a_folder_can_be_tested(tmp_path: Path) -> None:
    made = ready(fill(tmp_path / "p"), "test", test_fraction=1.0)
    assert made.image_set("test").labels_N.tolist() == [0] * 10 + [1] * 10
    assert made.has_test
    (tmp_path / "q").mkdir()
    (tmp_path / "p/dark").rename(tmp_path / "q/dark")
    assert len(ready(tmp_path / "q", "test", test_fraction=1.0).image_set("test").labels_N) == 10


def test_the_file_of_each_test_sample(tmp_path: Path) -> None:
    made = ready(fill(tmp_path / "data"), stage="test", test_fraction=0.5)
    pixels_N = made.image_set("test").images_NHWC[:, 0, 0, 0].tolist()
    assert len(paths := made.test_paths()) == len(pixels_N) > 1
    assert [np.asarray(Image.open(tmp_path / "data" / path))[0, 0].max() for path in paths] == pixels_N


def test_an_archive_in_place_of_a_folder(tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "pets"), "zip", fill(tmp_path / "p"))
    assert len(ready(Path(archive), test_fraction=0.0).image_set("train").labels_N) == 20


def test_a_larger_cache_is_cropped_in_training_and_centered_in_evaluation(tmp_path: Path) -> None:
    made = ready(fill(tmp_path / "p", size=20), image_size=14, augment=[RandomResizedCrop(14)], test_fraction=0.0)
    assert made.image_set("train").images_NHWC.shape[1:] == (16, 16, 3)
    assert made.example_images(2).shape == (2, 3, 14, 14)
    assert (made.spec.size, made.spec.stored_size) == ((14, 14), (16, 16))
    images_BCHW = torch.arange(256.0).view(1, 1, 16, 16) / 256
    assert torch.equal(made.center(images_BCHW), images_BCHW[..., 1:15, 1:15])
    images_BCHW = made.image_set("train").images_NHWC[:2].permute(0, 3, 1, 2) / 255
    assert made.augment_images(images_BCHW, torch.tensor([0, 1]), 0).shape == (2, 3, 14, 14)
    assert ready(tmp_path / "p", image_size=14, stored_size=18).image_set("train").images_NHWC.shape[1] == 18


def test_crops_may_be_smaller_than_what_evaluation_sees(tmp_path: Path) -> None:
    made = ready(fill(tmp_path / "p"), image_size=14, augment=[RandomResizedCrop(10)], test_fraction=0.0)
    images_BCHW = made.image_set("train").images_NHWC[:2].permute(0, 3, 1, 2) / 255
    crops_BCHW = made.augment_images(images_BCHW, torch.tensor([0, 1]), 0)
    assert made.normalize_images(crops_BCHW).shape == (2, 3, 10, 10)
    assert made.normalize_images(images_BCHW).shape == (2, 3, 14, 14)


def test_missing_test_set_is_reported(tmp_path: Path) -> None:
    undivided = data(fill(tmp_path / "p"), test_fraction=0.0)
    assert not undivided.has_test
    with pytest.raises(UserError, match=r"no test set\. Set test_fraction above 0, or use the validation images"):
        undivided.setup("test")
    fill(tmp_path / "q/train")
    divided = data(tmp_path / "q")
    assert not divided.has_test
    with pytest.raises(UserError, match=r"no test set. Add images to .*/q/test/CLASS, or"):
        divided.setup("test")


def test_error_names_up_to_20_bad_files(tmp_path: Path) -> None:
    root = fill(tmp_path / "p")
    for number in range(23):
        (root / "dark" / f"bad{number:02}.png").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        ready(root, test_fraction=0.0)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"23 of 43 files in {root} cannot be decoded:"
    assert lines[1:3] == ["  dark/bad00.png: empty", "  dark/bad01.png: empty"]
    assert lines[20] == "  dark/bad19.png: empty"
    assert lines[21].startswith("  and 3 more: see ")
    report = Path(lines[21].split("see ")[1])
    assert len([line for line in report.read_text().splitlines() if line.endswith(",left out,empty")]) == 23
    assert lines[22].endswith("leave them out with --data.on_bad skip")
    assert len(lines) == 23


def test_bad_files_can_be_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = fill(tmp_path / "p")
    (root / "light" / "bad.png").write_bytes(b"text")
    made = ready(root, on_bad="skip", test_fraction=0.0)
    assert len(made.image_set("train").labels_N) == 20
    made.prepare_data()
    line = (
        f"1 files in {root} cannot be decoded and are left out, such as light/bad.png: not a format that Pillow reads"
    )
    assert capsys.readouterr().err.splitlines().count(line) == 1


def test_class_with_only_bad_files_is_reported(tmp_path: Path) -> None:
    root = fill(tmp_path / "p")
    (root / "odd").mkdir()
    (root / "odd" / "1.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"no training file of odd in .* can be decoded"):
        ready(root, on_bad="skip", test_fraction=0.0)


@pytest.mark.parametrize("cache", ["cache", "dark/cache"])
def test_cache_inside_the_folder_of_images_is_not_read(tmp_path: Path, cache: str) -> None:
    root = fill(tmp_path / "p")
    before = ready(root, cache_dir=f"{root}/{cache}").describe()
    assert ready(root, cache_dir=f"{root}/{cache}").describe() == before
    assert ready(root, cache_dir=f"{tmp_path}/elsewhere").classes == ("dark", "light")


def test_description(tmp_path: Path) -> None:
    made = ready(fill(tmp_path / "p"), test_fraction=0.0)
    before = made.describe()
    assert before["counts"] == {"train": 20, "val": 0, "test": 0} and before["bad_files"] == 0
    assert json.loads(json.dumps(before)) == before
    Image.new("L", (6, 6), 77).save(tmp_path / "p/dark/new.png")
    assert ready(tmp_path / "p", test_fraction=0.0).describe()["fingerprint"] != before["fingerprint"]


def test_batches_are_channels_last(tmp_path: Path) -> None:
    images_NHWC = ready(fill(tmp_path / "p")).image_set("train").images_NHWC
    images_BCHW = images_NHWC.index_select(0, torch.tensor([3, 1])).permute(0, 3, 1, 2)
    assert images_BCHW.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"image_size": 0}, "image_size 0 must be at least 1"),
        ({"test_fraction": 1.1}, r"test_fraction 1.1 is outside \[0, 1\]"),
        ({"split": "tail"}, "split tail would validate on the last classes only"),
        ({"mean": [0.5]}, r"mean \[0.5\] must have 3 numbers"),
        ({"stored_size": 3}, "stored_size 3 must be at least image_size 4"),
        ({"augment": [RandomResizedCrop(5)]}, "RandomResizedCrop has size 5, more than data.image_size 4"),
        ({"white": 0.0}, "white 0.0 must be above 0"),
        ({"std": [0.5, 0.5, 0]}, r"std \[0.5, 0.5, 0\] must be above 0"),
    ],
)
def test_arguments_are_checked(tmp_path: Path, wrong: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        data(fill(tmp_path / "p"), **wrong)


def test_pending_preparation_writes_nothing(tmp_path: Path) -> None:
    root = fill(tmp_path / "p")
    missing = data(root).pending_preparation()
    assert missing is not None and missing.bytes == 20 * 4 * 4 * 3
    assert missing.work.startswith("decode the new and changed ones of 20 images in")
    assert not (tmp_path / "cache").exists()
    data(root).prepare_data()
    assert data(root).pending_preparation() is None
    (root / "dark" / "bad.png").write_bytes(b"")
    assert data(root).pending_preparation() is not None
    data(root, on_bad="skip").prepare_data()
    assert data(root).pending_preparation() is None
    with pytest.raises(UserError, match="1 of 21 files"):
        data(root).setup("fit")


# With the command line


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """A fit of 1 s on 40 images of 12 pixels."""
    fill(tmp_path / "p", count=20, size=12)
    return [
        *("--data=ImageFolder", f"--data.data_dir={tmp_path}/p", "--data.image_size=12", "--data.batch_size=8"),
        *("--model.net=src.models.SimpleCNN", "--model.net.image_size=12"),
        *("--trainer.max_epochs=1", "--trainer.precision=32-true", "--trainer.accelerator=cpu"),
        *("--trainer.enable_progress_bar=false", "--trainer.default_root_dir=logs/a/b"),
    ]


@pytest.mark.slow
def test_fit_ends_with_a_test(cli: Run, arguments: list[str], tmp_path: Path) -> None:
    cli("fit", *arguments)
    run = tmp_path / "logs/a/b"
    assert "test/acc" in json.loads((run / "results.json").read_text())["test"]
    described = json.loads((run / "manifest.json").read_text())["data"]
    assert sum(described["counts"].values()) == 40
    assert [path.name for path in (tmp_path / "data/cache/p").iterdir()] == [described["fingerprint"]]


@pytest.mark.slow
def test_fit_without_a_test_set_succeeds_and_test_reports_it(
    cli: Run, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    cli("fit", *arguments, "--data.test_fraction=0")
    assert "fit" in json.loads(Path("logs/a/b/results.json").read_text())
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli("test", "--run=a/b")
    assert stop.value.code == 2 and "has no test set" in capsys.readouterr().err
    cli("validate", "--run=a/b")


@pytest.mark.slow
def test_resuming_with_other_files_warns(
    cli: Run, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli("fit", *arguments, "--test_after_fit=false")
    assert "has changed" not in capsys.readouterr().err
    cli("fit", "--resume=a/b", "--trainer.max_epochs=2", "--test_after_fit=false")
    assert "has changed" not in capsys.readouterr().err
    Image.new("L", (12, 12), 77).save(tmp_path / "p/dark/new.png")
    cli("fit", "--resume=a/b", "--trainer.max_epochs=3", "--test_after_fit=false")
    output = capsys.readouterr().err
    assert "has changed since this run started" in output and "1 of them new or changed" in output


@pytest.mark.slow
def test_a_run_is_evaluated_on_another_folder_by_the_names_of_its_classes(
    cli: Run, arguments: list[str], tmp_path: Path
) -> None:
    fill(tmp_path / "p/also", count=5)
    cli("fit", *arguments, "--data.split=stratified", "--trainer.max_epochs=3")
    config = yaml.safe_load(Path("logs/a/b/config.yaml").read_text())
    assert config["model"]["net"]["init_args"]["num_classes"] == 3
    fill(tmp_path / "q", size=12)
    cli("test", "--run=a/b", f"--data.data_dir={tmp_path}/q", "--data.test_fraction=0.5", "--data.split=stratified")
    (evaluation,) = json.loads(Path("logs/a/b/results.json").read_text())["evaluations"]
    assert evaluation["test/acc_of/also"] is None and evaluation["test/acc_of/light"] == 1.0
    assert evaluation["data"]["folder"] == f"{tmp_path}/q"


@pytest.mark.slow
def test_a_run_is_not_evaluated_or_resumed_with_other_classes(
    cli: Run, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli("fit", *arguments, "--test_after_fit=false")
    fill(tmp_path / "p/new")
    (tmp_path / "p/dark").rename(tmp_path / "p/zebra")
    for command in (["test", "--run=a/b"], ["fit", "--resume=a/b"], ["predict", "--run=a/b"]):
        with pytest.raises(SystemExit) as stop:
            cli(*command)
        assert stop.value.code == 2
        assert "the classes new, zebra, which the model does not have; it was trained on dark, light" in (
            capsys.readouterr().err
        )


def test_missing_folder_is_one_paragraph(fails: Fails) -> None:
    given = (
        "--trainer.max_epochs=1",
        "--data=ImageFolder",
        "--data.data_dir=nowhere",
        "--model.net=src.models.SimpleCNN",
    )
    assert "nowhere cannot be read: No such file" in fails("fit", *given)


@pytest.mark.slow
def test_one_of_two_processes_decodes(arguments: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "src", "fit", *arguments, f"--data.cache_dir={tmp_path}/cache"]
    command += ["--trainer.devices=2", "--trainer.strategy=ddp", f"--trainer.default_root_dir={tmp_path}/run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("decoding 40 images") == 1
    assert "test/acc" in json.loads((tmp_path / "run/results.json").read_text())["test"]
