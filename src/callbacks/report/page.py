"""From the values of a report to Markdown, and from Markdown to one self-contained HTML file."""

from __future__ import annotations

import base64
import html
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from src.callbacks.report.statistics import Estimate

_TEMPLATES = Path(__file__).parent


def as_markdown(values: dict[str, Any]) -> str:
    """Fills `card.md.jinja`."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"text": escaped, "percent": percent, "number": number}
    return environment.get_template("card.md.jinja").render(values)


def as_html(markdown_text: str, directory: Path, title: str) -> str:
    """One page with the images of `directory` in it, and without links to files or hosts."""
    import markdown

    body = markdown.markdown(markdown_text, extensions=["tables", "fenced_code", "toc"])
    body = re.sub(r'src="([^":]+\.png)"', lambda match: f'src="{_data_uri(directory / match[1])}"', body)
    style = (_TEMPLATES / "page.css").read_text()
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    return f"<!doctype html>\n<html lang=en><head>{head}<style>\n{style}</style></head><body>\n{body}\n</body></html>\n"


def _data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def escaped(text: object) -> str:
    """A text as it is, within a cell of a Markdown table, too."""
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", html.escape(" ".join(str(text).split()), quote=False))


def percent(value: float | Estimate) -> str:
    """A fraction, or an estimate with its interval, in percent; a dash for NaN."""
    return _formatted(value, lambda one: f"{100 * one:.1f}", " %")


def number(value: float | Estimate) -> str:
    """A number, or an estimate with its interval, with three decimal places; a dash for NaN."""
    return _formatted(value, lambda one: f"{one:.3f}", "")


def _formatted(value: float | Estimate, to_text: Callable[[float], str], unit: str) -> str:
    middle, *ends = value if isinstance(value, Estimate) else (value,)
    interval = f" ({' to '.join(map(to_text, ends))})" if ends else ""
    return "-" if math.isnan(middle) else to_text(middle) + unit + interval
