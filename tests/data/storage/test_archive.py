import io
import os
import tarfile
from pathlib import Path

import pytest

from src.data.storage.archive import check_md5, md5sum, unpack
from src.errors import UserError

HELLO_MD5 = "5d41402abc4b2a76b9719d911017c592"  # of b"hello", as `printf hello | md5sum` prints


def make_tar(path: Path, **files: bytes) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"files/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_md5sum(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"hello")
    assert md5sum(tmp_path / "file") == HELLO_MD5


def test_wrong_checksum_is_reported_with_file_size_and_advice(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"hello")
    check_md5(tmp_path / "file", HELLO_MD5, "not shown")
    with pytest.raises(UserError) as caught:
        check_md5(tmp_path / "file", "0123", "Do this.")
    for words in (str(tmp_path / "file"), HELLO_MD5, "0123", "5 bytes", "Do this."):
        assert words in str(caught.value)


def test_unpacking_leaves_nothing_but_the_folder(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", one=b"1", two=b"22")
    unpack(archive, tmp_path / "files")
    assert (tmp_path / "files" / "two").read_bytes() == b"22"
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar.gz", "files"}


def test_existing_folder_is_not_changed(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", one=b"1")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "one").write_bytes(b"mine")
    unpack(archive, tmp_path / "files")
    assert (tmp_path / "files" / "one").read_bytes() == b"mine"


def test_remains_of_a_killed_process_are_deleted(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", one=b"1")
    (tmp_path / "files.part" / "files").mkdir(parents=True)
    (tmp_path / "files.part" / "files" / "stale").write_bytes(b"")
    unpack(archive, tmp_path / "files")
    assert [path.name for path in (tmp_path / "files").iterdir()] == ["one"]


def test_failed_unpacking_leaves_nothing(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", one=os.urandom(5000))
    archive.write_bytes(archive.read_bytes()[:3000])
    with pytest.raises((EOFError, tarfile.ReadError)):
        unpack(archive, tmp_path / "files")
    assert list(tmp_path.iterdir()) == [archive]


def test_members_outside_the_folder_are_rejected(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", **{"../../outside": b"!"})
    with pytest.raises(tarfile.OutsideDestinationError):
        unpack(archive, tmp_path / "inner" / "files")
    assert not list(tmp_path.rglob("outside"))
