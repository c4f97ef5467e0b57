"""The errors of jsonargparse in one paragraph: key, class path, reason and the nearest name.

jsonargparse raises built-in exceptions: what an error wraps, and for which key, is in its text alone.
"""

from __future__ import annotations

import difflib
import inspect
import pkgutil
import re
from collections.abc import Collection
from types import ModuleType

import torch
import torchvision
from lightning.pytorch import callbacks, loggers

from src import data, models, optim
from src.data import augment

# Classes of these packages are shown by --help.
PACKAGES = (augment, data, models, optim)
# What is suggested for a name without its module.
_SUGGESTED = (*PACKAGES, torch.optim, torch.optim.lr_scheduler, torchvision.models, callbacks, loggers)

_WRAPPER = re.compile(
    r"Parser key \"(?P<key>[^\"]+)\":?|Problem with given class_path '(?P<class_path>[^']+)':|"
    r"Does not validate against any|Type \S.* expects a function or a callable class: |\n- Expected a path but"
)
_UNKNOWN = re.compile(
    r"(?:Group '(.+)' does not accept option|(Subcommand) '\w+' does not accept option|[Oo]ption|"
    r"unrecognized arguments:) '?-*([\w.]+)"
)
_EXPECTED = re.compile(r"(?:Expected an? |Not a valid )(.+?)\. Got value: ([^\n]*).*", re.DOTALL)
_EXPECTED_BY_UNION = re.compile(r"- Expected an? ([^:\n]+)$", re.MULTILINE)
_NOT_A_CLASS_PATH = re.compile(r"Expected a dot import path string: (.*)")
_OTHER_TYPE = re.compile(r"Import path \S+ does not correspond to a subclass of (\w+)")

# Names that are not near: of a given run, and of arguments that belong to a class.
_OTHER_NAMES = {
    **{"run": "resume", "resume": "run", "epochs": "trainer.max_epochs", "gpus": "trainer.devices"},
    **{"lr": "model.optimizer.lr", "learning_rate": "model.optimizer.lr", "batch_size": "data.batch_size"},
    "net": "model.net",
}


def explain(error: BaseException) -> str:
    """Key, class path and reason of an error, in one paragraph, with the nearest name for a misspelled one.

    jsonargparse wraps the reason in up to eight exceptions, each with the text of all inner ones and of all
    alternatives. This follows the chain of causes to the innermost.
    """
    keys: list[str] = []
    class_path = outer = ""
    while match := _WRAPPER.match(text := str(error)):
        if match["key"] and match["key"] not in keys[-1:]:
            keys.append(match["key"])
        class_path = match["class_path"] or class_path
        if error.__cause__ is None:
            text = text[match.end() :]
            break
        outer, error = text, error.__cause__
    key = ".".join(keys)
    place = f"{key} ({class_path})" if key and class_path else key or class_path
    return " ".join(f"{place}: {_reason(error, text, outer, key)}".removeprefix(": ").split())


def _reason(error: BaseException, text: str, outer: str, key: str) -> str:
    """The text of the innermost error; `outer` names the alternatives of a union."""
    text = text.replace("an import path or a subclass spec, but got ", "a class path. Got value: ")
    if match := _EXPECTED.fullmatch(text):
        types = (_EXPECTED_BY_UNION.findall(outer) if "Union" in outer else []) or [match[1]]
        names = dict.fromkeys(_type_name(name) for name in types)
        value = "null" if match[2] == "None" else match[2]
        append = (
            f"; to append one, use --{key}+={value}" if "list" in names and re.match(r"(?!null)[A-Za-z]", value) else ""
        )
        if value.startswith("{'init_args'"):
            return "class_path is missing"
        return f"expected {' or '.join(names)}, not {value}{append}"
    if match := _NOT_A_CLASS_PATH.fullmatch(text):
        return f"{match[1]} is not a class path{_suggestion(match[1], _SUGGESTED_PATHS)}"
    if text.startswith("Expected an instantiatable class"):
        return f"{text}; give the class_path of another"
    if match := _OTHER_TYPE.fullmatch(text):
        returned = "Tensor" if "Callable[[torch.Tensor" in outer else match[1]  # a loss, or what makes a network
        return f"{text}; a function states in its signature what it returns: `-> {returned}`"
    if isinstance(error, AttributeError) and error.name and inspect.ismodule(error.obj):
        return text + _suggestion(error.name, _names(error.obj), list_all=True)
    if isinstance(error, ModuleNotFoundError) and error.name:
        near = _suggestion(error.name, [module.name for module in pkgutil.iter_modules()])
        return text + (near or "; your own modules are searched for in the current folder and in PYTHONPATH")
    return text


def suggest_option(message: str, options: list[str], list_all: bool) -> str | None:
    """The message with the nearest name if it is about an unknown option, else None."""
    if not (unknown := _UNKNOWN.match(message)):
        return None
    group, subcommand, name = unknown.groups()
    other = _OTHER_NAMES.get(name.rpartition(".")[2], "")
    if not list_all and (other in options or other.rpartition(".")[0] in options):
        return f"{message}; did you mean {other}?"
    part, _, rest = name.partition(".")
    if list_all and (near := difflib.get_close_matches(part, ["class_path", "init_args"], n=1)):
        options = [f"{near[0]}{'.' * bool(rest)}{rest}"]
    name = f"{group}.{name}" if group else name
    suggestion = _suggestion(name, [o for o in options if not name.startswith(f"{o}.")], list_all=list_all)
    once = ("config", "print_", "format_")  # not keys of a recipe
    keys = dict.fromkeys(option.partition(".")[0] for option in options if not option.startswith(once))
    return message + (suggestion or (f"; choose from {', '.join(keys)}" if subcommand else ""))


def _names(module: ModuleType) -> list[str]:
    """Classes, functions and submodules."""
    own = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
    return own + [submodule.name for submodule in pkgutil.iter_modules(getattr(module, "__path__", ()))]


# Those of this project are found without their module.
_SUGGESTED_PATHS = {
    name: name if package in PACKAGES else f"{package.__name__}.{name}"
    for package in reversed(_SUGGESTED)
    for name in getattr(package, "__all__", None) or _names(package)
}


def _type_name(text: str) -> str:
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text).replace("NoneType", "null").replace("Sequence", "list")
    text = text.replace("subclass of", "the class path of a")
    return re.sub(r"typing\.Literal\[(.*)\]", r"one of \1", text)


def _suggestion(name: str, known: Collection[str], list_all: bool = False) -> str:
    """`; did you mean ...?`, or the few that are known if none is near."""
    lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name, known, n=1) or [
        *(lower[one] for one in difflib.get_close_matches(name.lower(), lower, n=1)),
        *(one for one in known if one.startswith(name)),
    ]
    suggested = [known[one] if isinstance(known, dict) else one for one in near]
    if suggested and suggested[0] != name:  # else it exists, and is of another kind
        return f"; did you mean {suggested[0]}?"
    return f"; choose from {', '.join(known)}" if list_all and 0 < len(known) < 30 else ""
