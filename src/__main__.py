"""`python -m src`."""

import os
import sys

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
