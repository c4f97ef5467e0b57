from __future__ import annotations

import os
import shutil
import threading
import zipfile
from pathlib import Path

import pytest

from src.data.storage.archive import folder_of
from src.data.storage.folder_scan import list_files, read_layout
from src.errors import UserError
from tests.data.storage.test_folder_scan import make


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
@pytest.mark.parametrize("alone", [True, False])
def test_an_archive_is_read_as_its_folder(tmp_path: Path, kind: str, alone: bool) -> None:
    root = make(tmp_path / "in" / "pets", "cat/1.png", "dog/1.png", "dog/2.png")
    archive = shutil.make_archive(str(tmp_path / "pets"), kind, tmp_path / "in" if alone else root)
    folder = folder_of(Path(archive), tmp_path / "cache")
    assert list_files(read_layout(folder), 0.0).paths == ["cat/1.png", "dog/1.png", "dog/2.png"]
    assert tmp_path / "cache/unpacked" in folder.parents


def test_an_archive_is_unpacked_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "pets"), "zip", make(tmp_path / "in", "a/1", "b/1")))
    threads = [threading.Thread(target=folder_of, args=(archive, tmp_path / "cache")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert capsys.readouterr().err.count("unpacking") == 1
    first = folder_of(archive, tmp_path / "cache")
    os.utime(archive, ns=(0, 5))
    assert folder_of(archive, tmp_path / "cache") != first


def test_a_folder_is_left_as_it_is(tmp_path: Path) -> None:
    assert folder_of(tmp_path, tmp_path / "cache") == tmp_path
    assert folder_of(tmp_path / "gone", tmp_path / "cache") == tmp_path / "gone"


def test_what_is_no_archive_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match=r"a\.jpg is a file that is no zip or tar archive"):
        folder_of(tmp_path / "a.jpg", tmp_path / "cache")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a/1", b"content")
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[content.index(b"content")] ^= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.zip cannot be unpacked: .*CRC"):
        folder_of(tmp_path / "a.zip", tmp_path / "cache")
    assert not [path for path in tmp_path.rglob("cache/unpacked/*")]
