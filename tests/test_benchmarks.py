"""How benchmarks take turns and compute their figures."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import peak, photographs, publish, scaling
from benchmarks.airbench import train_airbench
from benchmarks.notebooks import BATCH, FITS
from benchmarks.parts import Parts, affine_by_grid, network
from benchmarks.pytorch_side import build
from benchmarks.report import conditions, table
from benchmarks.scaling import efficiency, largest
from benchmarks.speed94 import Program
from benchmarks.turns import ROOT, Side, measure, ratio
from src.data.augment.affine import affine, rotation, translation
from src.data.augment.affine import scaling as scale
from src.data.augment.augmentation import Fill
from src.models import DeepCNN, SimpleCNN

SIDE = "from benchmarks.turns import Turns\nturns = Turns()\nprint('other output')\nwhile True: turns.next()"


def test_order_of_the_sides_alternates(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def side(name: str) -> Side:
        result = Side.__new__(Side)
        result.turn = lambda clock="wall": order.append(name) or float(len(order))
        result.stop = lambda: order.append(f"{name} stops")
        return result

    seconds = measure({"a": side("a"), "b": side("b")}, rounds=2)
    assert order == ["b", "a", "a", "b", "b", "a", "a stops", "b stops"]
    assert seconds == {"a": [3, 6], "b": [4, 5]}


def test_efficiency_is_the_compute_of_a_step_over_all_of_it() -> None:
    # 1 s of compute; 2 x 3/4 x 1 GB over 1 GB/s and 6 messages of 0.25 s.
    assert efficiency(scaling.FLOPS, 1e9, 4, 1e9, 0.25) == pytest.approx(1 / (1 + 1.5 + 1.5))
    assert largest(1e30, 1, "Ethernet", strong=False) == max(scaling.COUNTS)
    assert largest(1, 1e12, "NVLink", strong=True) == 1


def test_the_documented_table_of_scaling_is_the_program_s(capsys: pytest.CaptureFixture[str]) -> None:
    scaling.main()
    assert capsys.readouterr().out in (ROOT / "benchmarks/README.md").read_text()


def test_ratio_is_the_median_over_the_rounds() -> None:
    assert ratio([1.0, 2.0, 10.0], [2.0, 6.0, 10.0]) == 2.0  # 2, 3 and 1


@pytest.mark.slow
def test_process_takes_turns_and_ends_with_the_measuring_program() -> None:
    side = Side([sys.executable, "-c", SIDE])
    assert [0 <= side.turn() < 60 for _ in range(2)] == [True, True]
    side.process.send_signal(signal.SIGCONT)
    side.process.communicate(timeout=60)  # closes stdin
    assert side.process.returncode == 0
    side.stop()


@pytest.mark.slow
def test_error_quotes_a_process_that_ends_before_its_turn() -> None:
    side = Side([sys.executable, "-c", "raise SystemExit('no keras here')"])
    with pytest.raises(RuntimeError, match="no keras here"):
        side.turn()


def test_table_is_markdown() -> None:
    assert table(["a", "b"], [["x", 1.234], ["y", 2]]) == "| a | b |\n| --- | --- |\n| x | 1.23 |\n| y | 2 |"


def test_published_section_replaces_that_of_its_title_only(tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    path.write_text("# Results\n\nText.\n")
    for title, section in [("a on X", "| 1 |\n\ntext"), ("a on Y", "| 2 |"), ("a on X", "| 3 |")]:
        publish.write(path, title, section)
    assert path.read_text() == "# Results\n\nText.\n\n## a on X\n\n| 3 |\n\n## a on Y\n\n| 2 |\n"


def test_published_are_the_tables_and_a_command_without_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    assert publish.tables("progress 1\n\n| a |\n| --- |\n\n2026, commit") == "| a |\n| --- |\n\n2026, commit"
    with pytest.raises(ValueError, match="no table"):
        publish.tables("progress")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    expected = "OMP_NUM_THREADS=1 python -m benchmarks.steps --data_dir ... --short"
    assert publish.command("steps", ["--data_dir", "/home/me/data", "--short"]) == expected


def test_operations_of_a_step() -> None:
    # Two for each multiply-add: 27 for each of 32 x 32 x 32 outputs, and the two linear layers. Backward computes the
    # gradients of the weights and of all inputs but the images.
    conv, linear = 27 * 32 * 32 * 32, 8192 * 512 + 512 * 10
    assert peak.flops(SimpleCNN()) == (2 * BATCH * (conv + linear), 2 * BATCH * (conv + 2 * linear))


def test_conditions_name_versions_and_hardware() -> None:
    assert f"torch {torch.__version__.split('+')[0]}" in conditions("keras 3")
    assert "keras 3; " in conditions("keras 3")


@pytest.mark.parametrize("recipe", FITS)
def test_fits_match_the_recipes(recipe: str) -> None:
    text = (ROOT / f"configs/notebooks/{recipe}.yaml").read_text()
    fourth_conv, augmentation, _ = FITS[recipe]
    _, augmentations = build(recipe)  # asserts the number of parameters
    assert len(augmentations) == (augmentation is not None)
    assert ("SimpleCNN" in text) == (fourth_conv is None)
    assert fourth_conv is None or f"fourth_conv: {fourth_conv}" in text
    assert ("PreprocessingLayers" in text) == (augmentation == "layers")
    assert ("ImageDataGenerator" in text) == (augmentation == "generator")


AIRBENCH = """
import sys
with open(sys.argv[0]) as f: code = f.read()
class CifarNet:
    def cuda(self): return self
    def to(self, memory_format): return self
    def compile(self, mode): assert mode == "max-autotune"
def main(run, model):
    print(f"|  {run}  |  eval  |  0.9401  |  2.5900  |")
    return 0.9401
"""


def test_airbench_reports_its_own_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "airbench94_muon.py"
    program.write_text(AIRBENCH)
    monkeypatch.setattr(sys, "argv", [str(program)])
    seconds, compiling, accuracy = train_airbench(program)
    assert (seconds, accuracy) == (2.59, 0.9401)
    assert compiling < 60


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_airbench_fails_without_a_gpu() -> None:
    command = [sys.executable, "-m", "benchmarks.airbench", "airbench94_muon.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().count("\n") == 0
    assert "finds no GPU" in done.stderr


@pytest.mark.slow
def test_program_runs_only_during_its_turns(tmp_path: Path) -> None:
    count = "import itertools, time\nfor i in itertools.count(): print(i, flush=True); time.sleep(0.01)"
    program = Program([sys.executable, "-c", count], tmp_path / "lines.txt")
    assert program.turn(2)
    stopped = program.output.read_text()
    assert stopped
    subprocess.run(["sleep", "0.5"], check=True)
    assert program.output.read_text() == stopped
    assert program.turn(1)
    assert len(program.output.read_text()) > len(stopped)
    assert 2.9 < program.seconds < 30
    program.stop()


@pytest.mark.slow
def test_error_quotes_a_program_that_fails(tmp_path: Path) -> None:
    program = Program([sys.executable, "-c", "raise SystemExit('no keras here')"], tmp_path / "lines.txt")
    with pytest.raises(RuntimeError, match="no keras here"):
        program.turn(60)


@pytest.mark.parametrize("fill", ["nearest", "reflect", "constant"])
def test_affine_by_grid_equals_affine(fill: Fill) -> None:
    torch.manual_seed(0)
    rotation_B33 = rotation(torch.rand(4)) @ translation(4 * torch.rand(4), 3 * torch.rand(4))
    images_BCHW, matrix_B33 = torch.rand(4, 3, 8, 8), rotation_B33 @ scale(torch.rand(4) + 0.5, torch.ones(4))
    expected_BCHW = affine(images_BCHW, matrix_B33, fill)
    torch.testing.assert_close(affine_by_grid(images_BCHW, matrix_B33, fill), expected_BCHW, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [DeepCNN, SimpleCNN])
@pytest.mark.parametrize("part", Parts._fields)
def test_network_without_a_part_computes_the_same(kind: type[torch.nn.Sequential], part: str) -> None:
    torch.manual_seed(0)
    net, images_BCHW = kind().eval(), torch.rand(2, 3, 32, 32)
    other = network(net, Parts()._replace(**{part: False})).eval()
    torch.testing.assert_close(other(images_BCHW), net(images_BCHW))


@pytest.mark.slow
def test_both_sides_train_on_photographs(tmp_path: Path) -> None:
    photographs.write_images(tmp_path / "images", 70)
    assert len(photographs.torchvision_side(tmp_path / "images", 32, 2, workers=0)) == 2
    assert len(photographs.ours(tmp_path / "images", 32, 2, tmp_path / "cache")) == 2


@pytest.mark.slow
def test_both_sides_predict_the_same_files(tmp_path: Path) -> None:
    photographs.write_images(tmp_path / "images", 70)
    rows = []
    for side in (photographs.plain_side, photographs.predict_side):
        assert side(tmp_path / "images", 32, 0, tmp_path / "p.csv") > 0
        with (tmp_path / "p.csv").open(newline="") as file:
            rows.append([path for path, _, _ in csv.reader(file) if path != "path"])
    assert len(rows[0]) == 70 and rows[0] == rows[1]
