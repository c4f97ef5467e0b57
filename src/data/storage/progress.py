"""Progress on stderr, apart from what a command prints as its result."""

import sys

from tqdm import tqdm


def info(line: str) -> None:
    """Prints a line to stderr."""
    print(line, file=sys.stderr, flush=True)


def progress(name: str, total: int, unit: str) -> tqdm:
    """A bar on a terminal, and a line every 10 % in a log file."""
    lines = {"miniters": total // 10, "mininterval": 0, "bar_format": "{desc}: {n_fmt} of {total_fmt}, {rate_fmt}\n"}
    scale = total >= 1e5  # 170M rather than 170498071
    return tqdm(desc=name, total=total, unit=unit, unit_scale=scale, **({} if sys.stderr.isatty() else lines))
