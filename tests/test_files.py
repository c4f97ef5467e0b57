"""Files that are replaced as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.files import replacing


def test_a_file_is_replaced_only_by_a_complete_one(tmp_path: Path) -> None:
    path = tmp_path / "new/file.txt"
    with replacing(path) as part:
        part.write_text("first")
    with pytest.raises(KeyError), replacing(path) as part:
        part.write_text("second")
        raise KeyError
    assert [file.read_text() for file in path.parent.iterdir()] == ["first"]
