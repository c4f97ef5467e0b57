"""Runs the command line: errors become exit codes, and Lightning's repeated messages are filtered."""

from __future__ import annotations

import errno
import os
import sys
import threading

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.exceptions import SIGTERMException

from src.cli import faults, inference
from src.cli.command_line import CLI
from src.cli.doctor.command import examine
from src.errors import RankLost, UserError
from src.runtime import cpu, lightning_workarounds, rendezvous, run_directory
from src.runtime.job import Job

# Errors of a disk or a folder, which the user can fix.
_ERRNOS = {errno.EACCES, errno.EDQUOT, errno.EEXIST, errno.ENOENT, errno.EISDIR, errno.ENOSPC, errno.ENOTDIR}
_ERRNOS |= {errno.EPERM, errno.EROFS}

faults.SHIPPED.update(name for name in sys.modules if name.startswith("src."))


def main(args: list[str] | None = None) -> None:
    """Runs the command line; what the user can fix ends with one paragraph and exit code 2."""
    _quieten()
    cpu.configure()
    arguments = sys.argv[1:] if args is None else list(args)
    try:
        rendezvous.join()
        if arguments[:1] == ["doctor"]:
            sys.exit(examine(arguments))
        if (code := inference.run(arguments)) is not None:
            sys.exit(code)
        if arguments[:1] == ["completion"]:
            from src.cli.completion import complete

            sys.exit(complete(arguments[1:]))
        if arguments[:1] == ["results"]:
            from src.cli.results import make_page

            sys.exit(make_page(arguments[1:]))
        CLI(args)
    except KeyboardInterrupt:  # before training; see `StopOnSignal` for later
        sys.exit(130)
    except SIGTERMException:  # Lightning would exit with 0
        sys.exit(143)
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # Lightning exits with 1
            sys.exit(130)
        raise
    except (UserError, MisconfigurationException) as error:
        _stop(error)
    except (rendezvous.Refused, RankLost) as error:
        met = rendezvous.current()
        if met and met.refusal():  # another rank says why
            met.leave("")  # with its text, that rank would take this one for the one that prints it
            sys.exit(1)
        _stop(error, code=1)
    except torch.OutOfMemoryError as error:
        _stop(UserError(f"{str(error).partition('. ')[0]}; lower data.batch_size, or use more devices"))
    except OSError as error:
        if error.errno not in _ERRNOS or faults.is_fault(error):
            _leave(error)
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "free some space" if full else "check the path and its permissions"
        where = os.fsdecode(error.filename) if error.filename else "the disk"  # TensorBoard names its file in bytes
        _stop(UserError(f"{where}: {error.strerror}; {advice}, or use another folder"))
    except Exception as error:
        _leave(error)
        raise
    finally:
        run_directory.remove_empty()


def _leave(error: Exception) -> None:
    """Tells the other ranks of the job that a fault ends this one, whose traceback follows."""
    if who := _who():
        print(f"{who}the following error ends it", file=sys.stderr, flush=True)
    if met := rendezvous.current():
        met.leave(str(error))


def _who() -> str:
    """The rank of this process, before a message, where there are others."""
    if met := rendezvous.current():
        return f"{met.name}: "
    job = Job.of()
    return f"rank {job.rank}: " if job.rank or job.world_size > 1 else ""


def _stop(error: Exception, code: int = 2) -> None:
    """Prints an error, after the traceback of the fault that it may come from."""
    if os.environ.get("TRACEBACK"):
        raise error
    met, text = rendezvous.current(), str(error).strip()
    if met and (refused := met.leave(text)) and str(refused) == text:
        sys.exit(code)  # a lower rank prints the same
    if faults.print_fault(error):
        code = 1
    print(f"error: {_who()}{text}" + ("" if text.endswith((".", "?", "!")) else "."), file=sys.stderr, flush=True)
    sys.exit(code)


def _quieten() -> None:
    """Filters what Lightning repeats at each start, and what TensorBoard's writer thread raises about the disk: the
    next call of the logger raises it, too."""
    lightning_workarounds.quieten()
    threading.excepthook = _report_thread


def _report_thread(args: threading.ExceptHookArgs) -> None:
    if not isinstance(args.exc_value, OSError) or not type(args.thread).__module__.startswith("tensorboard."):
        threading.__excepthook__(args)
