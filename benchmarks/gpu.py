"""Checks this project on a GPU and measures its speed there, in at most seven minutes.

    python -m benchmarks.gpu [--data_dir DIR] [--airbench cifar10-airbench/airbench94_muon.py] [--out FOLDER]

The checks are the tests in tests/gpu, the figures those of `benchmarks.gpu_speed`. CIFAR-10 is read from DIR, or
downloaded; without it the figures are of synthetic shapes. Writes report.md and report.json, and the output of each
part. The exit code is 1 if a check or a claim failed. `--device cpu --short` tries the command on a machine without a
GPU, where it has no claims.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import torch

from benchmarks import report
from benchmarks.turns import ROOT
from src.cli.doctor.machine import machine

MINUTES = 7
CHECKS = {"test_messages": 30, "test_recipes": 70, "test_device": 90, "test_numbers": 110}  # at most so many seconds
FIGURES = {"notebooks": 70, "resnet18": 45, "speed94": 120, "pinned": 35, "idle": 20, "compile": 60}
DOWNLOAD = 45


class Row(NamedTuple):
    """A row of the report."""

    part: str
    name: str
    result: str  # pass, fail, skip, or empty for a figure without a claim
    figure: str


class Part(NamedTuple):
    """How a command ended."""

    code: int | None  # None: it was stopped at the end of its time
    output: str


def run(command: list[str], seconds: float, log: Path, **environ: str) -> Part:
    """Runs a command in the folder of the project; interrupts it after `seconds`, so that pytest writes its results."""
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environ}, stdout=file, stderr=file, start_new_session=True
        )
        try:
            code = process.wait(max(1, seconds))
        except subprocess.TimeoutExpired:
            code = None
            process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return Part(code, log.read_text(errors="replace"))


def check(name: str, seconds: float, arguments: argparse.Namespace) -> Iterator[Row]:
    """The tests of a file."""
    results = arguments.out / f"{name}.xml"
    results.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", f"tests/gpu/{name}.py", "-q", "-W", "default", "-p", "no:cacheprovider"]
    command += ["-o", "junit_family=xunit1", f"--junitxml={results}"]
    part = run(command, seconds, arguments.out / f"{name}.txt", TEST_DEVICE=arguments.device)
    rows = list(read_tests(results)) if results.is_file() else []
    yield from rows
    last = (part.output.strip().splitlines() or [""])[-1]
    if part.code is None:
        yield Row("check", name, "fail", f"did not end within {seconds:.0f} s")
    elif part.code and not any(row.result == "fail" for row in rows):
        yield Row("check", name, "fail", f"ended with code {part.code}: {last}")


def read_tests(path: Path) -> Iterator[Row]:
    """The tests of a file in JUnit's format, with the `figure` that each recorded."""
    for case in ElementTree.parse(path).iter("testcase"):
        failed, skipped = (case.find("failure"), case.find("error")), case.find("skipped")
        problem = next((one for one in (*failed, skipped) if one is not None), None)
        result = "pass" if problem is None else "skip" if problem is skipped else "fail"
        figures = [one.get("value", "") for one in case.iter("property") if one.get("name") == "figure"]
        message = problem.get("message", "").splitlines()[:1] if problem is not None else []
        name = re.sub(r"^test | (?=\[)", " ", case.get("name", "").replace("_", " ", 30)).strip()
        yield Row("check", name, result, "; ".join([*figures, *message]))


def measure(name: str, seconds: float, arguments: argparse.Namespace) -> Iterator[Row]:
    """The figures of a part of `benchmarks.gpu_speed`."""
    command = [sys.executable, "-m", "benchmarks.gpu_speed", name, f"--device={arguments.device}"]
    command += [f"--data_dir={arguments.data_dir}", *(["--short"] if arguments.short else [])]
    command += [f"--airbench={arguments.airbench}"] if arguments.airbench else []
    part = run(command, seconds, arguments.out / f"{name}.txt")
    for line in part.output.splitlines():
        if line.startswith("figure "):
            yield Row("speed", *json.loads(line.removeprefix("figure ")))
    if part.code is None:
        yield Row("speed", name, "skip", f"did not end within {seconds:.0f} s")
    elif part.code:
        yield Row("speed", name, "fail", (part.output.strip().splitlines() or [""])[-1])


def download(arguments: argparse.Namespace) -> str:
    """Fetches CIFAR-10 if it is not there; returns what the figures are of. The short form needs none."""
    script = f"from src.data import CIFAR10; CIFAR10({arguments.data_dir!r}).prepare_data()"
    if arguments.short:
        return "synthetic shapes"
    run([sys.executable, "-c", script], DOWNLOAD, arguments.out / "download.txt")
    found = (Path(arguments.data_dir) / "cifar-10-batches-py").is_dir()
    return "CIFAR-10" if found else "synthetic shapes, since CIFAR-10 could not be downloaded"


def write(rows: list[Row], data: str, seconds: float, arguments: argparse.Namespace) -> str:
    """Writes report.json and report.md; returns the latter."""
    command = f"python -m benchmarks.gpu --device {arguments.device}{' --short' * arguments.short}"
    found = {result: sum(row.result == result for row in rows) for result in ("pass", "fail", "skip")}
    content = {"command": command, "machine": machine(), "conditions": report.conditions(), "data": data}
    content |= {"seconds": round(seconds), **found, "rows": [row._asdict() for row in rows]}
    (arguments.out / "report.json").write_text(json.dumps(content, indent=2) + "\n")
    counted = ", ".join(f"{count} {result}" for result, count in found.items())
    page = (
        f"# {arguments.device}: {counted}\n\n{report.table(Row._fields, rows)}\n\n"
        f"`{command}`, {seconds:.0f} s; figures of {data}. {content['machine']}. {content['conditions']}\n"
    )
    (arguments.out / "report.md").write_text(page)
    return page


def main() -> None:
    parser = report.parser(__doc__)
    parser.set_defaults(data_dir=os.environ.get("DATA_DIR", "data"))
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--short", action="store_true", help="few steps, no download")
    parser.add_argument("--airbench", help="your copy of airbench94_muon.py of KellerJordan/cifar10-airbench")
    parser.add_argument("--out", type=Path, default=Path("logs/gpu"), help="folder for the report")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu: torch finds no GPU; --device cpu --short tries this command without one")
    arguments.out = arguments.out.expanduser().absolute()
    arguments.out.mkdir(parents=True, exist_ok=True)
    arguments.data_dir = str(Path(arguments.data_dir).expanduser().absolute())

    started = time.monotonic()
    data = download(arguments)
    rows: list[Row] = []
    for name, budget in {**CHECKS, **FIGURES}.items():
        left = 60 * MINUTES - (time.monotonic() - started)
        measures = check if name in CHECKS else measure
        if left < 10:
            rows.append(Row("check" if name in CHECKS else "speed", name, "skip", "no time was left"))
            continue
        for row in measures(name, min(budget, left - 5), arguments):
            rows.append(row)
            print(*row, sep=" | ", flush=True)
    print(f"\n{write(rows, data, time.monotonic() - started, arguments)}\n{arguments.out}/report.md, report.json")
    sys.exit(any(row.result == "fail" for row in rows))


if __name__ == "__main__":
    main()
