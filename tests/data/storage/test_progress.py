import pytest

from src.data.storage.progress import progress


def test_a_log_has_a_line_for_every_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("pictures", 20, line="{} of {}".format) as report:
        for done in (1, 2, 3, 9, 20):
            report(done)
    assert capsys.readouterr() == ("", "pictures: 2 of 20\npictures: 9 of 20\npictures: 20 of 20\n")


def test_a_terminal_has_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with progress("pictures", 20, line="{} of {}".format) as report:
        report(20)
    output, shown = capsys.readouterr()
    assert output == "" and "100%" in shown and "20 of 20" not in shown
