"""Progress on stderr, apart from what a command prints as its result."""

import sys

from tqdm import tqdm


def info(line: str) -> None:
    """Prints a line to stderr."""
    print(line, file=sys.stderr, flush=True)


def progress(name: str, total: int | None, unit: str) -> tqdm:
    """A bar on a terminal, and a line in a log file every 10 %, or every 10 s where the total is unknown."""
    if total is None:
        lines = {"mininterval": 10, "delay": 10, "bar_format": "{desc}: {n_fmt} {unit}, {rate_fmt}\n"}
    else:
        form = "{desc}: {n_fmt} of {total_fmt}, {rate_fmt}\n"
        lines = {"miniters": total // 10, "mininterval": 0, "bar_format": form}
    scale = (total or 0) >= 1e5  # 170M rather than 170498071
    return tqdm(desc=name, total=total, unit=unit, unit_scale=scale, **({} if sys.stderr.isatty() else lines))
