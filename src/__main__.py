"""`python -m src`."""

import sys

from src.cli.overview import answer

if __name__ == "__main__":
    code = answer(sys.argv[1:])
    if code is not None:
        sys.exit(code)
    from src.cli.main import main  # which imports torch

    main()
