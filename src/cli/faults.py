"""Tells a fault in somebody's code, which keeps its traceback, from what was given wrongly, which is one paragraph."""

from __future__ import annotations

import linecache
import traceback
from types import FrameType

from lightning.fabric.utilities.exceptions import MisconfigurationException

from src.errors import UserError
from src.runtime.code_state import INSTALLED

# What the command line itself has imported, filled by `src.cli.main`. Whatever else of src runs is the user's, imported
# by its class path, and so is every file that is not installed.
SHIPPED: set[str] = set()

_MACHINERY = ("src.cli", "src.runtime", "src.optim.optimizer")


def is_fault(error: BaseException, training: bool = False) -> bool:
    """Whether code of the user's was running, or a line of this project failed that is not a `raise`.

    Args:
        error: as it was caught.
        training: whether it was caught in training, where what a library raises about the arguments comes through the
            trainer or the building of the optimizer; through other code, which the user may have edited, it is a fault.
    """
    if isinstance(error, (UserError, MisconfigurationException)):
        return False
    if isinstance(error, SyntaxError):
        return True
    frames = list(traceback.walk_tb(error.__traceback__))
    if any(not _is_installed(frame) and frame.f_globals.get("__name__") not in SHIPPED for frame, _ in frames):
        return True
    own = [(frame, line) for frame, line in frames if not _is_installed(frame)]
    if not own or isinstance(error, OSError):
        return False
    frame, line = own[-1]
    if frame is frames[-1][0]:
        return not linecache.getline(frame.f_code.co_filename, line).lstrip().startswith("raise ")
    return training and not str(frame.f_globals.get("__name__")).startswith(_MACHINERY)


def fault_in(error: BaseException | None) -> BaseException | None:
    """The fault that an error was raised from, if there is one."""
    while error is not None and not is_fault(error):
        error = error.__cause__ or error.__context__
    return error


def print_fault(error: BaseException) -> bool:
    """Prints the traceback of the fault that an error was raised from; returns whether there is one."""
    if fault := fault_in(error):
        traceback.print_exception(fault)
    return fault is not None


def _is_installed(frame: FrameType) -> bool:
    return INSTALLED.match(frame.f_code.co_filename) is not None
