import pytest

from src.data.storage.progress import progress


def test_log_file_has_a_line_every_10_percent(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("images", 20, line="{} of {}".format) as report:
        for done in (1, 2, 3, 9, 20):
            report(done)
    assert capsys.readouterr() == ("", "images: 2 of 20\nimages: 9 of 20\nimages: 20 of 20\n")


def test_terminal_has_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with progress("images", 20, line="{} of {}".format) as report:
        report(20)
    output, shown = capsys.readouterr()
    assert output == "" and "100%" in shown and "20 of 20" not in shown
