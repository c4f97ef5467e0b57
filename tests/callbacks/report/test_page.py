"""From values to Markdown and HTML."""

from __future__ import annotations

import math
from pathlib import Path

import markdown
import pytest
from PIL import Image

from src.callbacks.report.page import as_html, escaped, number, percent
from src.callbacks.report.statistics import Estimate


def test_numbers_with_their_intervals() -> None:
    assert percent(0.1234) == "12.3 %"
    assert percent(Estimate(0.5, 0.4, 0.61)) == "50.0 % (40.0 to 61.0)"
    assert number(Estimate(0.5, 0.4, 0.61)) == "0.500 (0.400 to 0.610)"
    assert percent(math.nan) == number(Estimate(math.nan, math.nan, math.nan)) == "-"


@pytest.mark.parametrize("text", ["<script>x</script>", "a | b", "_a_ *b* `c`", "[a](b)", "a\\b", "a&amp;b", "a  \n b"])
def test_any_text_is_shown_as_it_is(text: str) -> None:
    html = markdown.markdown(f"| a |\n| --- |\n| {escaped(text)} |", extensions=["tables"])
    cell = html[html.index("<td>") + 4 : html.index("</td>")]
    assert "<" not in cell
    shown = cell.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert shown == " ".join(text.split())


def test_the_page_contains_its_images(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "report/a.png")
    page = as_html("# A\n\n![the <text>](report/a.png)", tmp_path, "a & b")
    assert 'src="data:image/png;base64,' in page and "report/a.png" not in page
    assert "<title>a &amp; b</title>" in page
    assert "http" not in page
