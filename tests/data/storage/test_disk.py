import contextlib
import os
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from src.data.storage.disk import exclusive, one_at_a_time
from src.errors import UserError


@contextlib.contextmanager
def unwritable(*folders: Path, mode: int = 0o555) -> Iterator[None]:
    """Makes folders read-only for this process, even if it runs as root."""
    for folder in folders:
        folder.chmod(mode)
    as_root = os.geteuid() == 0
    if as_root:
        for parent in folders[-1].parents:
            if not parent.stat().st_mode & stat.S_IXOTH:
                parent.chmod(0o755)
        os.seteuid(65534)
    try:
        yield
    finally:
        if as_root:
            os.seteuid(0)
        for folder in folders:
            folder.chmod(0o755)


def test_unwritable_folder_is_reported(tmp_path: Path) -> None:
    with (
        unwritable(tmp_path),
        pytest.raises(UserError, match=f"Permission denied.*writing in {tmp_path}"),
        exclusive(tmp_path / "file"),
    ):
        pytest.fail("not reached")


def test_file_in_place_of_the_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be written"), exclusive(tmp_path / "data" / "file"):
        pytest.fail("not reached")


def test_partial_files_and_lock_are_deleted_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), exclusive(tmp_path / "new" / "file") as part:
        (part / "file").write_bytes(b"half")
        raise KeyboardInterrupt
    assert not (tmp_path / "new").exists()


def test_second_process_waits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []

    def second() -> None:
        with exclusive(tmp_path / "file"):
            order.append("second")

    thread = threading.Thread(target=second)
    with exclusive(tmp_path / "file"):
        thread.start()
        thread.join(0.15)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert "waiting for another process" in capsys.readouterr().err


def test_deleted_locks_admit_one_at_a_time(tmp_path: Path) -> None:
    inside, most = 0, 0

    def enter(_: int) -> None:
        nonlocal inside, most
        with exclusive(tmp_path / "file"):
            inside += 1
            most = max(most, inside)
            (tmp_path / "file").touch()
            inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(enter, range(40)))
    assert most == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_blocks_that_download_to_a_folder_follow_one_another(tmp_path: Path) -> None:
    order: list[str] = []

    def enter(name: str) -> None:
        with one_at_a_time(tmp_path / "hub"):
            order.append(name)
            if not (tmp_path / "hub/file").exists():
                time.sleep(0.05)
                (tmp_path / "hub/file").touch()
                order.append("downloads")

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(enter, "aaa"))
    assert order == ["a", "downloads", "a", "a"]


def test_a_folder_that_cannot_be_written_needs_no_turns(tmp_path: Path) -> None:
    with unwritable(tmp_path), one_at_a_time(tmp_path), one_at_a_time(tmp_path / "hub"):
        pass
