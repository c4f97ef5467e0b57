import hashlib
import os
import pickle
import shutil
import tarfile
from pathlib import Path
from typing import Any

import jsonargparse
import numpy as np
import pytest
import torch
from torchvision import datasets
from torchvision.datasets.utils import calculate_md5

from src.data import cifar10
from src.data.batch import ImageSet
from src.data.cifar10 import CIFAR10
from src.data.datamodule import ImageDataModule, Subset
from src.errors import UserError
from tests.data.storage.test_disk import unwritable

FOLDER, ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"
Fakes = tuple[Any, Path]  # a subclass of CIFAR10, and the folder with its files

CLOSED = ("http://127.0.0.1:1/a", "http://127.0.0.1:1/b")  # a port that refuses connections


@pytest.fixture(scope="session")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Fakes:
    """A CIFAR-10 with 20 images per file: its class, and the folder that contains its files and its archive."""
    root = tmp_path_factory.mktemp("fake")
    (root / FOLDER).mkdir()
    random = np.random.default_rng(0)
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    for name in names:
        data = random.integers(0, 256, (20, 3072), dtype=np.uint8)
        entry = {"data": data, "labels": random.integers(0, 10, 20).tolist()}
        (root / FOLDER / name).write_bytes(pickle.dumps(entry))
    (root / FOLDER / "batches.meta").write_bytes(pickle.dumps({"label_names": list(CIFAR10.classes)}))
    with tarfile.open(root / ARCHIVE, "w:gz") as tar:
        tar.add(root / FOLDER, FOLDER)
    listed = [[name, calculate_md5(root / FOLDER / name)] for name in names]

    class Source(datasets.CIFAR10):
        train_list = listed[:5]
        test_list = listed[5:]
        meta = datasets.CIFAR10.meta | {"md5": calculate_md5(root / FOLDER / "batches.meta")}
        tgz_md5 = calculate_md5(root / ARCHIVE)

    class Fake(CIFAR10):
        source = Source
        archive_bytes = (root / ARCHIVE).stat().st_size

        def __init__(self, data_dir: str | Path) -> None:
            super().__init__(str(data_dir), CLOSED, cache_dir=None)

    return Fake, root


def failure(data: CIFAR10) -> str:
    with pytest.raises(UserError) as caught:
        data.prepare_data()
        data.setup("fit")
    return str(caught.value)


def copy(fake_root: Path, to: Path) -> Path:
    shutil.copytree(fake_root / FOLDER, to / FOLDER)
    return to / FOLDER


@pytest.fixture
def caching(fake: Fakes, tmp_path: Path) -> tuple[CIFAR10, Path]:
    """A fake with its own files and cache, and the cache of its training images."""
    Fake, root = fake
    copy(root, tmp_path)
    data = Fake(tmp_path)
    data.cache_dir = str(tmp_path / "cache")
    return data, tmp_path / "cache" / FOLDER / "train"


def same(a: ImageSet, b: ImageSet) -> bool:
    return torch.equal(a.images_NHWC, b.images_NHWC) and torch.equal(a.labels_N, b.labels_N)


def test_images_are_in_the_order_of_the_files(fake: Fakes) -> None:
    Fake, root = fake
    data = Fake(root)
    data.prepare_data()
    train, test = data.read("train"), data.read("test")
    assert train.images_NHWC.shape == (100, 32, 32, 3) and train.images_NHWC.dtype == torch.uint8
    assert test.images_NHWC.shape == (20, 32, 32, 3) and test.labels_N.dtype == torch.int64
    third = pickle.loads((root / FOLDER / "data_batch_3").read_bytes())
    assert train.labels_N[40:60].tolist() == third["labels"]
    # A row has all of red, then of green, then of blue; the pixel in row 2, column 5 is the 70th of each.
    assert train.images_NHWC[41, 2, 5].tolist() == third["data"][1, [69, 1024 + 69, 2048 + 69]].tolist()


def test_batches_are_channels_last(fake: Fakes) -> None:
    Fake, root = fake
    images_BHWC = Fake(root).read("train").images_NHWC[torch.tensor([5, 3])]
    assert images_BHWC.permute(0, 3, 1, 2).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("below", ["", FOLDER])
def test_read_only_folder(fake: Fakes, tmp_path: Path, below: str) -> None:
    Fake, root = fake
    folder = copy(root, tmp_path)
    with unwritable(folder, tmp_path):
        data = Fake(tmp_path / below)
        data.prepare_data()
        data.setup("fit")
        data.setup("test")
    assert [path.name for path in tmp_path.iterdir()] == [FOLDER]


def test_folder_with_another_name(fake: Fakes, tmp_path: Path) -> None:
    Fake, root = fake
    renamed = copy(root, tmp_path).rename(tmp_path / "mine")
    data = Fake(renamed)
    data.prepare_data()
    assert len(data.read("test").labels_N) == 20


@pytest.mark.parametrize(("name", "data_dir"), [(ARCHIVE, ""), (ARCHIVE, ARCHIVE), ("c10.tgz", "c10.tgz")])
def test_existing_archive(fake: Fakes, tmp_path: Path, name: str, data_dir: str) -> None:
    Fake, root = fake
    shutil.copy(root / ARCHIVE, tmp_path / name)
    data = Fake(tmp_path / data_dir)
    data.prepare_data()
    assert len(data.read("train").labels_N) == 100
    assert calculate_md5(tmp_path / name) == Fake.source.tgz_md5
    data.prepare_data()  # again: nothing to do


def test_home_folder_is_expanded(fake: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    Fake, root = fake
    monkeypatch.setenv("HOME", str(root))
    assert len(Fake("~").read("test").labels_N) == 20


def test_without_data_and_network_the_error_names_the_alternatives(fake: Fakes, tmp_path: Path) -> None:
    message = failure(fake[0](tmp_path / "nowhere"))
    words = [
        str(tmp_path / "nowhere"),
        FOLDER,
        ARCHIVE,
        "data_dir",
        "make fit",
        "--config configs/quickstart.yaml",
    ]
    words += [f"{url}: Cannot connect to host" for url in CLOSED]
    assert [word for word in words if word not in message] == []


def test_pending_preparation_writes_nothing(fake: Fakes, tmp_path: Path) -> None:
    Fake, root = fake
    missing = Fake(tmp_path / "new").pending_preparation()
    assert missing.work.startswith(f"download {ARCHIVE} ") and missing.folder == tmp_path / "new"
    assert missing.bytes == Fake.archive_bytes + Fake.unpacked_bytes
    shutil.copy(root / ARCHIVE, tmp_path)
    assert Fake(tmp_path).pending_preparation() == (f"unpack {tmp_path / ARCHIVE}", tmp_path, Fake.unpacked_bytes)
    (tmp_path / ARCHIVE).write_bytes(b"half")
    with pytest.raises(UserError, match="is corrupted or incomplete"):
        Fake(tmp_path).pending_preparation()
    assert [path.name for path in tmp_path.iterdir()] == [ARCHIVE]
    copy(root, tmp_path)
    assert Fake(tmp_path).pending_preparation() is None


def test_reading_without_prepare_data_names_the_missing_file(fake: Fakes, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"data_batch_1 cannot be read: No such file.*{FOLDER}"):
        fake[0](tmp_path).setup("fit")


def test_missing_file_is_reported_before_training(fake: Fakes, tmp_path: Path) -> None:
    Fake, root = fake
    (copy(root, tmp_path) / "test_batch").unlink()
    assert f"{FOLDER}/test_batch cannot be read: No such file or directory. Move" in failure(Fake(tmp_path))


@pytest.mark.parametrize("name", ["data_batch_4", "test_batch", "batches.meta"])
@pytest.mark.parametrize("how", ["truncated", "altered"])
def test_wrong_file_is_reported_at_the_start_and_kept(fake: Fakes, tmp_path: Path, name: str, how: str) -> None:
    Fake, root = fake
    path = copy(root, tmp_path) / name
    shutil.copy(root / ARCHIVE, tmp_path)  # from which it is not silently replaced
    content = path.read_bytes()
    wrong = content[:-7] if how == "truncated" else content[:30] + b"#" + content[31:]
    path.write_bytes(wrong)
    message = failure(Fake(tmp_path))
    words = [str(path), hashlib.md5(wrong).hexdigest(), hashlib.md5(content).hexdigest(), "away"]
    assert [word for word in words if word not in message] == []
    assert path.read_bytes() == wrong


def test_nothing_is_unpickled_before_its_checksum_is_compared(fake: Fakes, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "executed",)

    Fake, root = fake
    folder = copy(root, tmp_path)
    for name in ("data_batch_1", "batches.meta", "test_batch"):
        (folder / name).write_bytes(pickle.dumps(Trap()))
    data = Fake(tmp_path)
    for subset in ("train", "test"):
        with pytest.raises(UserError):
            data.read(subset)
    assert not (tmp_path / "executed").exists()


def test_testing_needs_only_the_test_file(fake: Fakes, tmp_path: Path) -> None:
    Fake, root = fake
    (copy(root, tmp_path) / "data_batch_1").write_bytes(b"")
    assert len(Fake(tmp_path).read("test").labels_N) == 20


@pytest.mark.parametrize("subset", ["train", "test"])
def test_files_are_decoded_once(caching: tuple[CIFAR10, Path], subset: Subset, monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = caching
    first = data.read(subset)
    monkeypatch.delattr(cifar10, "_decode")
    again = data.read(subset)
    assert same(first, again)
    assert again.labels_N.dtype == torch.int64


@pytest.mark.parametrize("how", ["flipped bit", "truncated"])
def test_damaged_cache_is_written_again(caching: tuple[CIFAR10, Path], how: str) -> None:
    data, cache = caching
    first = data.read("train")
    pixels = cache / "pixels.u8"
    content = pixels.read_bytes()
    flipped = content[:1000] + bytes([content[1000] ^ 1]) + content[1001:]
    pixels.write_bytes(flipped if how == "flipped bit" else content[:1000])
    assert same(data.read("train"), first)
    assert pixels.read_bytes() == content


def test_touched_files_are_decoded_again(caching: tuple[CIFAR10, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = caching
    first = data.read("train")
    os.utime(Path(data.data_dir) / FOLDER / "data_batch_1", ns=(0, 1))
    assert same(data.read("train"), first)
    monkeypatch.delattr(cifar10, "_decode")  # the second call has updated the cache
    assert same(data.read("train"), first)


def test_changed_file_is_reported_although_there_is_a_cache(
    caching: tuple[CIFAR10, Path],
) -> None:
    data, _ = caching
    data.read("train")
    test = Path(data.data_dir) / FOLDER / "test_batch"
    test.write_bytes(test.read_bytes()[:-1])  # otherwise needed only after training
    with pytest.raises(UserError, match="test_batch is corrupted"):
        data.read("train")


def test_unwritable_cache_dir_is_not_an_error(caching: tuple[CIFAR10, Path]) -> None:
    data, cache = caching
    cache.parent.mkdir(parents=True)
    with unwritable(cache.parent, cache.parent.parent):
        assert same(data.read("train"), data.read("train"))
    assert list(cache.parent.iterdir()) == []


def test_incomplete_archive_is_reported_and_kept(fake: Fakes, tmp_path: Path) -> None:
    Fake, root = fake
    archive = tmp_path / ARCHIVE
    archive.write_bytes((root / ARCHIVE).read_bytes()[:1000])
    message = failure(Fake(tmp_path))
    words = [str(archive), "1,000 bytes", calculate_md5(archive), Fake.source.tgz_md5, f"Move {archive} away"]
    assert [word for word in words if word not in message] == []
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.parametrize("with_archive", [False, True])
def test_unwritable_folder_is_reported(fake: Fakes, tmp_path: Path, with_archive: bool) -> None:
    Fake, root = fake
    if with_archive:
        shutil.copy(root / ARCHIVE, tmp_path)
    with unwritable(tmp_path):
        message = failure(Fake(tmp_path))
    assert "Permission denied" in message and f"allow writing in {tmp_path}" in message


def test_unreadable_folder_is_reported(fake: Fakes, tmp_path: Path) -> None:
    Fake, root = fake
    copy(root, tmp_path / "closed")
    with unwritable(tmp_path / "closed", mode=0o000):
        message = failure(Fake(tmp_path / "closed"))
    assert message == f"data_dir {tmp_path / 'closed'} cannot be read: Permission denied."


def test_urls_are_checked() -> None:
    with pytest.raises(ValueError, match="urls is empty"):
        CIFAR10(urls=[])
    with pytest.raises(ValueError, match=r"'/home/me/c\.tgz', which is not an http address; set data_dir"):
        CIFAR10(urls=["/home/me/c.tgz"])
    assert CIFAR10().urls[-1] == datasets.CIFAR10.url


def test_help_shows_its_own_and_the_common_arguments() -> None:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(ImageDataModule, "data")
    parsed = parser.parse_args(["--data=src.data.CIFAR10", "--data.data_dir=/d", "--data.batch_size=64"])
    data = parser.instantiate(parsed)["data"]
    assert (data.data_dir, data.batch_size) == ("/d", 64)
    own = jsonargparse.ArgumentParser()
    own.add_class_arguments(CIFAR10, "data")
    text = " ".join(own.format_help().split())
    for words in (
        "--data.batch_size BATCH_SIZE images per step",
        "--data.data_dir DATA_DIR folder that contains",
    ):
        assert words in text


@pytest.fixture(scope="module")
def real() -> CIFAR10:
    if "CIFAR10_DIR" not in os.environ:
        pytest.skip("CIFAR10_DIR, a folder with the real cifar-10-batches-py, is not set")
    data = CIFAR10(os.environ["CIFAR10_DIR"], cache_dir=None)
    data.prepare_data()
    return data


@pytest.fixture(scope="module")
def real_train(real: CIFAR10) -> ImageSet:
    return real.read("train")


def test_real_sizes(real: CIFAR10, real_train: ImageSet) -> None:
    test = real.read("test")
    assert real_train.images_NHWC.shape == (50_000, 32, 32, 3)
    assert test.images_NHWC.shape == (10_000, 32, 32, 3)
    assert real_train.labels_N.bincount().tolist() == [5_000] * 10
    assert test.labels_N.bincount().tolist() == [1_000] * 10


def test_real_classes(real: CIFAR10) -> None:
    [meta] = Path(real.data_dir).expanduser().rglob("batches.meta")
    assert calculate_md5(meta) == datasets.CIFAR10.meta["md5"]
    assert real.classes == tuple(pickle.loads(meta.read_bytes())["label_names"])


def test_real_mean_and_std(real: CIFAR10, real_train: ImageSet) -> None:
    # From the histogram of the 256 values, which is exact.
    values = np.arange(256) / 255
    for channel in range(3):
        counts = real_train.images_NHWC[..., channel].flatten().bincount(minlength=256).numpy()
        mean = (counts * values).sum() / counts.sum()
        std = np.sqrt((counts * (values - mean) ** 2).sum() / counts.sum())
        assert (round(mean, 4), round(std, 4)) == (real.mean[channel], real.std[channel])
