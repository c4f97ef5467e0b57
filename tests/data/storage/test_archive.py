import io
import os
import tarfile
from pathlib import Path

import pytest

from src.data.storage.archive import check, checksum, unpack
from src.errors import UserError

HELLO_MD5 = "5d41402abc4b2a76b9719d911017c592"  # of b"hello", as `printf hello | md5sum` prints


def make_tar(path: Path, **files: bytes) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"things/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_checksum_is_md5(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"hello")
    assert checksum(tmp_path / "file") == HELLO_MD5


def test_check_names_file_both_checksums_and_advice(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"hello")
    check(tmp_path / "file", HELLO_MD5, "never shown")
    with pytest.raises(UserError) as caught:
        check(tmp_path / "file", "0123", "Do this.")
    for words in (str(tmp_path / "file"), HELLO_MD5, "0123", "5 bytes", "Do this."):
        assert words in str(caught.value)


def test_unpack_moves_the_folder_and_leaves_nothing_else(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", one=b"1", two=b"22")
    unpack(archive, tmp_path / "things")
    assert (tmp_path / "things" / "two").read_bytes() == b"22"
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar.gz", "things", "things.lock"}


def test_unpack_leaves_a_folder_that_is_there_alone(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", one=b"1")
    (tmp_path / "things").mkdir()
    (tmp_path / "things" / "one").write_bytes(b"mine")
    unpack(archive, tmp_path / "things")
    assert (tmp_path / "things" / "one").read_bytes() == b"mine"


def test_unpack_starts_anew_after_one_that_was_killed(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", one=b"1")
    (tmp_path / "things.part" / "things").mkdir(parents=True)
    (tmp_path / "things.part" / "things" / "stale").write_bytes(b"")
    unpack(archive, tmp_path / "things")
    assert [path.name for path in (tmp_path / "things").iterdir()] == ["one"]


def test_unpack_that_breaks_leaves_no_folder(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", one=os.urandom(5000))
    archive.write_bytes(archive.read_bytes()[:3000])
    with pytest.raises((EOFError, tarfile.ReadError)):
        unpack(archive, tmp_path / "things")
    assert not (tmp_path / "things").exists()


def test_unpack_refuses_members_that_climb_out(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", **{"../../outside": b"!"})
    with pytest.raises(tarfile.OutsideDestinationError):
        unpack(archive, tmp_path / "inner" / "things")
    assert not list(tmp_path.rglob("outside"))
