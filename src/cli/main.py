"""Runs the command line: errors become exit codes, and Lightning's repeated messages are filtered."""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
import warnings

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.exceptions import SIGTERMException

from src.cli.command_line import CLI
from src.cli.doctor_cli import examine
from src.data.storage.disk import OF_THE_DISK
from src.errors import RankLost, UserError
from src.runtime import cpu

# What a disk or a folder can refuse.
_OF_THE_USER = OF_THE_DISK | {errno.ENOENT, errno.EISDIR}


def main(args: list[str] | None = None) -> None:
    """Runs the command line; what a user can mend ends with one paragraph and code 2."""
    _quieten()
    cpu.configure()
    arguments = sys.argv[1:] if args is None else list(args)
    try:
        if arguments[:1] == ["doctor"]:
            sys.exit(examine(arguments))
        CLI(args)
    except KeyboardInterrupt:  # before training has begun; while it lasts, see `StopOnSignal`
        sys.exit(130)
    except SIGTERMException:  # of Lightning, elsewhere; it would end with 0
        sys.exit(143)
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # of which Lightning makes a 1
            sys.exit(130)
        raise
    except (UserError, MisconfigurationException) as error:
        _stop(error)
    except RankLost as error:
        _stop(error, code=1)
    except OSError as error:
        if error.errno not in _OF_THE_USER:
            raise
        advice = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "see who may write there"
        where = os.fsdecode(error.filename) if error.filename else "the disk"  # TensorBoard names its file in bytes
        _stop(UserError(f"{where}: {error.strerror}; {advice}, or choose another folder by trainer.default_root_dir"))


def _stop(error: Exception, code: int = 2) -> None:
    if os.environ.get("TRACEBACK"):
        raise error
    text = str(error).strip()
    print(f"error: {text}" + ("" if text.endswith((".", "?", "!")) else "."), file=sys.stderr, flush=True)
    sys.exit(code)


def _quieten() -> None:
    """Leaves out what Lightning and its companions say of themselves at every start."""
    # `src.runtime.trainer` says which device and precision, `fit` says what it goes on from.
    chatter = (
        "GPU available",
        "Loading `train_dataloader`",
        "Restoring states",
        "Restored all states",
        "Loaded model weights",
        "TPU available",
        "💡 Tip",
        "Using bfloat16",
        "`Trainer.fit` stopped",
        "Seed set",
        "`weights_only` was",
    )
    for name in ("lightning.pytorch", "lightning.fabric"):
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(lambda record: not record.getMessage().startswith(chatter))
    # TensorBoard's thread hands what it could not write to the next that draws, which is where it is told.
    told = threading.excepthook
    threading.excepthook = lambda args: None if isinstance(args.exc_value, OSError) else told(args)
    # Lightning's own call of a torch function that will go away.
    warnings.filterwarnings("ignore", "`isinstance\\(treespec, LeafSpec\\)`")
    # TensorBoard's graphs are made by tracing; torch names no other way to make one.
    warnings.filterwarnings("ignore", "`torch.jit.trace", FutureWarning)
    warnings.filterwarnings("ignore", "The number of training batches")
    # A recipe without validation means it.
    warnings.filterwarnings("ignore", "Total length of `list` across ranks is zero")
