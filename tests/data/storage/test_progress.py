import sys

import pytest

from src.data.storage.progress import progress


def test_log_file_has_a_line_every_10_percent(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("images", 20, " images") as bar:
        for count in (1, 1, 1, 6, 11):
            bar.update(count)
    output, shown = capsys.readouterr()
    done = [line.partition(",")[0] for line in shown.splitlines() if line.strip()]  # tqdm pads a shorter line
    assert output == "" and done[1:4] == ["images: 2 of 20", "images: 9 of 20", "images: 20 of 20"]


def test_terminal_has_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress("images", 20, " images") as bar:
        bar.update(20)
    output, shown = capsys.readouterr()
    assert output == "" and "100%|" in shown and "20/20" in shown
