"""`python -m src` from the folder of the project, `python PROJECT/src` from any other."""

import os
import sys

if __package__ != "src":  # Python has put the folder src itself first, whose modules are not to be imported as `data`
    sys.path[:1] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__))), os.getcwd()]
    __spec__ = None  # Lightning starts the other ranks by `sys.argv[0]` instead of `-m`

from src.cli.overview import answer
from src.runtime import early_signals

if __name__ == "__main__":
    early_signals.install()
    # Warnings of C++ about a process that is gone have dozens of lines each; Python raises what matters.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    code = answer(sys.argv[1:])
    if code is not None:
        sys.exit(code)
    from src.cli.main import main  # which imports torch

    main()
