import contextlib
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.data.storage.disk import locked
from src.errors import UserError


@contextlib.contextmanager
def unwritable(*folders: Path, mode: int = 0o555) -> Iterator[None]:
    """Makes folders such that this process, even root's, may read them and not write."""
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


def test_unwritable_folder_is_named(tmp_path: Path) -> None:
    with (
        unwritable(tmp_path),
        pytest.raises(UserError, match=f"Permission denied.*writing in {tmp_path}"),
        locked(tmp_path / "thing"),
    ):
        pytest.fail("should not have got here")


def test_a_file_where_the_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be made"), locked(tmp_path / "data" / "thing"):
        pytest.fail("should not have got here")


def test_one_at_a_time_and_the_other_says_that_it_waits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []

    def second() -> None:
        with locked(tmp_path / "thing"):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked(tmp_path / "thing"):
        thread.start()
        thread.join(0.15)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert "waiting for another process" in capsys.readouterr().err
