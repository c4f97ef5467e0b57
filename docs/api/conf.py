"""Sphinx: one page per folder of src, from its docstrings. `make docs` builds them."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

project = html_title = "Image classification with PyTorch Lightning"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["build"]
html_theme = "furo"
html_show_copyright = False
add_module_names = False
default_role = "code"
autoclass_content = "both"  # the docstring of the class and that of its constructor
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_inherit_docstrings = False  # those of Lightning refer to its own pages
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "both"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
suppress_warnings = ["ref.python"]  # a type's name that two modules have


def write_pages() -> None:
    """A page for each folder: what it exports, or all of its modules, where it exports nothing."""
    folders = (each.name for each in pkgutil.walk_packages([str(HERE.parents[1] / "src")], "src.") if each.ispkg)
    for name in ("src", *folders):
        package = importlib.import_module(name)
        modules = [each.name for each in pkgutil.iter_modules(package.__path__) if not each.ispkg]
        lines = [*heading(f"{name.replace('.', '/')}/", "="), f".. automodule:: {name}"]
        if not hasattr(package, "__all__"):
            for module in modules:
                if module != "__main__":
                    lines += ["", *heading(f"{module}.py", "-"), f".. automodule:: {name}.{module}"]
        elif name == "src.callbacks.report":  # src.callbacks has the entries of the index
            lines += ["   :no-index:"]
        (HERE / f"{name}.rst").write_text("\n".join([*lines, ""]))


def heading(title: str, underline: str) -> list[str]:
    return [title, underline * len(title), ""]


def skip_fields(app: object, kind: str, name: str, member: object, skip: bool, options: object) -> bool | None:
    """Leaves out the fields of a NamedTuple, which its constructor has."""
    return True if str(getattr(member, "__doc__", "")).startswith("Alias for field number") else None


def drop_new(app: object, kind: str, name: str, member: object, options: object, lines: list[str]) -> None:
    """Leaves out what Python writes about the constructor of a NamedTuple."""
    lines[:] = [line for line in lines if not line.startswith("Create new instance of ")]


def setup(app: Sphinx) -> None:
    write_pages()
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("autodoc-process-docstring", drop_new)
