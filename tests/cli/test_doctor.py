"""Each finding of the doctor, made to pass and to fail; then the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from src.cli import doctor
from src.cli.finding import Finding
from src.data import ImageFolder
from src.data.datamodule import Preparation
from src.errors import UserError
from src.runtime.checkpoint_file import read
from tests.conftest import ROOT, TINY
from tests.data.storage.test_disk import unwritable
from tests.toys import Linear, Squares, classifier, trainer

Run = Callable[..., None]
Fails = Callable[..., str]


def level(finding: Finding) -> str:
    return finding.level


# The machine


def versions(python: str = "3.11.9", **installed: str) -> list[Finding]:
    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    project = {"requires-python": ">=3.11.4", "dependencies": ["lightning>=2.6.4,<2.7", "torch[x]>=2.15"]}
    return doctor.versions(project, python, version)


def test_versions() -> None:
    assert list(map(level, versions(lightning="2.6.6", torch="2.16.0a1+cpu"))) == ["ok"]
    lines = list(map(str, versions("3.11.2", lightning="2.7.0")))
    assert [line.split(";")[0] for line in lines] == [
        "FAIL  python: 3.11.2 is not >=3.11.4",
        "FAIL  packages: lightning 2.7.0 is not <2.7,>=2.6.4",
        "FAIL  packages: torch is not installed",
    ]


def test_the_versions_that_run_these_tests_are_in_their_ranges() -> None:
    assert set(map(level, doctor.machine())) <= {"ok", "note"}


@pytest.mark.parametrize(
    ("accelerator", "count", "kind"),
    [
        ("auto", {"cuda": 2, "mps": 0, "cpu": 4}, "cuda"),
        ("auto", {"cuda": 0, "mps": 0, "cpu": 4}, "cpu"),
        ("gpu", {"cuda": 0, "mps": 1, "cpu": 4}, "mps"),
        ("gpu", {"cuda": 0, "mps": 0, "cpu": 4}, "cuda"),
        ("cpu", {"cuda": 2, "mps": 0, "cpu": 4}, "cpu"),
        ("tpu", {"cuda": 0, "mps": 0, "cpu": 4}, "tpu"),
    ],
)
def test_what_an_accelerator_means(accelerator: str, count: dict[str, int], kind: str) -> None:
    assert doctor.kind_of(accelerator, count) == kind


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [(2, [0, 1]), ("2", [0, 1]), ("auto", [0, 1, 2]), (-1, [0, 1, 2]), ([1], [1]), ("0,2", [0, 2])],
)
def test_which_devices_are_meant(asked: object, numbers: list[int]) -> None:
    assert doctor.device_numbers(asked, "cuda", 3) == numbers


@pytest.mark.parametrize(
    ("kind", "asked", "here", "begins"),
    [
        ("cuda", 2, 2, "ok    devices: 2 of 2 cuda"),
        ("cuda", "auto", 2, "ok    devices: 2 of 2 cuda"),
        ("cuda", 4, 1, "FAIL  devices: 4 x cuda asked for, 1 here (there is no 1, 2, 3); lower trainer.devices"),
        ("cuda", [1], 1, "FAIL  devices: 1 x cuda asked for, 1 here (there is no 1)"),
        ("cuda", "auto", 0, "FAIL  devices: trainer.accelerator asks for cuda, and there is none here"),
        ("cuda", 0, 1, "FAIL  devices: trainer.devices 0 is none"),
        ("cuda", "two", 1, "FAIL  devices: trainer.devices 'two' is no number"),
        ("cpu", "auto", 1, "ok    devices: CPU, 1 process"),
        ("cpu", 3, 1, "ok    devices: CPU, 3 processes"),
        ("cpu", -2, 1, "FAIL  devices: trainer.devices -2 is none"),
        ("tpu", 8, 1, "note  devices: tpu is not known here"),
    ],
)
def test_devices(kind: str, asked: object, here: int, begins: str) -> None:
    assert str(doctor.devices(kind, asked, {"cuda": here, "mps": 0, "cpu": 4})).startswith(begins)


@pytest.mark.parametrize(
    ("asked", "kind", "native", "speedup", "begins"),
    [
        ("auto", "cpu", "bf16-mixed", 2.5, "ok    precision: auto becomes bf16-mixed, which this cpu computes itself"),
        ("auto", "cpu", "32-true", 0.2, "ok    precision: auto becomes 32-true: this cpu only emulates bf16"),
        ("bf16-mixed", "cuda", "32-true", 0.5, "note  precision: bf16-mixed, which this cuda emulates"),
        ("bf16-true", "cpu", "bf16-mixed", 0.9, "note  precision: bf16-true, which this cpu computes itself"),
        ("16-mixed", "cpu", "bf16-mixed", 2.0, "note  precision: 16-mixed is made for GPUs"),
        ("16-mixed", "cuda", "bf16-mixed", 2.0, "ok    precision: 16-mixed"),
        (32, "cpu", "bf16-mixed", 2.0, "ok    precision: 32"),
    ],
)
def test_precision(asked: object, kind: str, native: str, speedup: float, begins: str) -> None:
    assert str(doctor.precision(asked, kind, native, speedup)).startswith(begins)


def test_a_folder_that_can_be_made(tmp_path: Path) -> None:
    assert str(doctor.writable(tmp_path / "a/b", "x")) == (
        f"ok    folder: {tmp_path}/a/b can be written (in {tmp_path}, which exists)"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "file: Not a directory; choose another x" in str(doctor.writable(tmp_path / "file/b", "x"))
    with unwritable(tmp_path):
        assert "Permission denied; choose another x" in str(doctor.writable(tmp_path / "b", "x"))


def test_room(tmp_path: Path) -> None:
    assert level(doctor.room("disk", tmp_path, 5, 6, "why")) == "ok"
    text = str(doctor.room("disk", tmp_path, 2_500_000_000, 3_000_000, "why"))
    assert text == f"FAIL  disk: 2.5 GB needed in {tmp_path} (why), 3.0 MB free; make room"


# The configuration


class Elsewhere(Squares):
    """Squares that would have to be fetched."""

    def __init__(self, folder: Path, needed: int = 5) -> None:
        super().__init__()
        self.needs = Preparation("fetch them", folder, needed)

    def pending_preparation(self) -> Preparation | None:
        return self.needs


class Broken(Squares):
    def pending_preparation(self) -> Preparation | None:
        raise UserError("a file is not whole")


def test_data_that_are_there() -> None:
    (finding,) = doctor.data_there(Squares())
    assert str(finding) == "ok    data: Squares: 30 + 30 pictures of 4 x 4 x 3, 3 classes, whole"


def test_data_without_a_test_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Squares, "has_test", False)
    assert str(doctor.data_there(Squares())[0]) == "ok    data: Squares: 30 pictures of 4 x 4 x 3, 3 classes, whole"


def test_data_that_are_not_there(tmp_path: Path) -> None:
    findings = doctor.data_there(Elsewhere(tmp_path))
    assert list(map(level, findings)) == ["note", "ok", "ok"]
    assert "not there yet; fit will first fetch them" in findings[0].text
    assert list(map(level, doctor.data_there(Elsewhere(tmp_path, 10**18)))) == ["note", "ok", "FAIL"]
    with unwritable(tmp_path):
        assert list(map(level, doctor.data_there(Elsewhere(tmp_path)))) == ["note", "FAIL", "ok"]


def test_data_that_are_broken() -> None:
    assert list(map(str, doctor.data_there(Broken()))) == ["FAIL  data: Broken: a file is not whole"]


def test_memory() -> None:
    # This process has them already; two more would need twice as much again.
    assert level(doctor.memory(10, 3, available=21)) == "ok"
    assert level(doctor.memory(10, 3, available=20)) == "FAIL"
    assert level(doctor.memory(10, 1, available=None)) == "note"


@pytest.mark.parametrize(
    ("batch_size", "processes", "drop_last", "line"),
    [
        (6, 2, False, "ok    batches: 10 training pictures in batches of 6: 2 steps an epoch, 3 pictures a process"),
        (6, 2, True, "ok    batches: 10 training pictures in batches of 6: 1 steps an epoch, 3 pictures a process"),
        (7, 2, False, "FAIL  batches: batch_size 7 does not divide by 2 processes"),
        (12, 2, True, "FAIL  batches: 10 training pictures in batches of 12: 0 steps an epoch; lower data.batch_size"),
    ],
)
def test_batches(batch_size: int, processes: int, drop_last: bool, line: str) -> None:
    assert str(doctor.batches(torch.arange(10), batch_size, processes, drop_last)).startswith(line)


def test_network() -> None:
    line = str(doctor.network(classifier(), torch.zeros(1, 3, 4, 4), 3))
    assert line == "ok    network: Linear, 147 parameters: (1, 3, 4, 4) to (1, 3)"
    assert "does not take images" in str(doctor.network(classifier(), torch.zeros(1, 3, 5, 5), 3))
    assert "returns (1, 3) for images of shape (1, 3, 4, 4); with 4" in str(
        doctor.network(classifier(), torch.zeros(1, 3, 4, 4), 4)
    )


@pytest.mark.parametrize(("optimizer", "states"), [(torch.optim.SGD, 0), (torch.optim.Adam, 2), (torch.optim.LBFGS, 0)])
def test_checkpoint_bytes_are_weights_and_the_optimizers_state(optimizer: type, states: int) -> None:
    model = classifier(optimizer=lambda params: optimizer(params, lr=0.1))
    weights, state = doctor.checkpoint_bytes(model)
    assert weights == 147 * 4
    # Adam also counts its steps, in four bytes for each of weight and bias; LBFGS keeps gradients, if not all.
    assert state >= states * weights and (states == 0 or state == states * weights + 8)


def test_space_for_checkpoints(tmp_path: Path) -> None:
    def space(free: int, averaged: bool = False) -> str:
        return str(doctor.space_for_checkpoints(classifier(optimizer=torch.optim.SGD), tmp_path, free, averaged))

    assert space(4 * 588 + 1).startswith("ok") and "4 checkpoints" in space(4 * 588 + 1)
    assert space(4 * 588).startswith("FAIL") and space(8 * 588, averaged=True).startswith("FAIL")
    assert space(8 * 588 + 1, averaged=True).startswith("ok")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/best.ckpt").touch()
    assert space(3 * 588 + 1).startswith("ok") and space(3 * 588).startswith("FAIL")


def test_an_optimizer_that_cannot_be_built(tmp_path: Path) -> None:
    model = classifier(optimizer=lambda params: torch.optim.SGD(params, lr=-1))
    text = str(doctor.space_for_checkpoints(model, tmp_path, 10**9))
    assert text == "FAIL  optimizer: Invalid learning rate: -1 (ValueError)"


def test_the_directory_of_another_run(tmp_path: Path) -> None:
    assert level(doctor.directory_of_its_own(tmp_path, again=False)) == "ok"
    (tmp_path / "config.yaml").touch()
    assert "already holds a run" in str(doctor.directory_of_its_own(tmp_path, again=False))
    assert level(doctor.directory_of_its_own(tmp_path, again=True)) == "ok"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last checkpoint of one epoch of four steps."""
    directory = tmp_path_factory.mktemp("run")
    trainer(directory).fit(classifier(), datamodule=Squares(), test_after_fit=False)
    return directory / "checkpoints/last.ckpt"


def goes_on(saved: Path, epochs: int | None = None, complaints: tuple[str, ...] = (), averaged: bool = False) -> str:
    found = (saved, read(saved), list(complaints))
    return str(doctor.resumable(classifier(), lambda: found, averaged, epochs))


def test_a_checkpoint_to_go_on_from(saved: Path) -> None:
    done = f"{saved} is whole, of this network and optimizer, 1 epochs and 4 steps done"
    assert goes_on(saved, 2) == goes_on(saved, -1) == goes_on(saved) == f"ok    checkpoint: {done}"
    assert goes_on(saved, 1) == f"note  checkpoint: {done}: nothing is left of trainer.max_epochs 1"
    assert goes_on(saved, 2, ("the last is cut short",)) == f"note  checkpoint: the last is cut short; {done}"


def test_a_checkpoint_of_no_use(saved: Path, tmp_path: Path) -> None:
    def begins_with(path: Path, net: nn.Module | None = None) -> str:
        model = classifier()
        model.net = net or model.net
        return str(doctor.weights(model, lambda: (path, read(path), [])))

    assert "none.ckpt not found" in begins_with(tmp_path / "none.ckpt")
    assert "of another network" in begins_with(saved, Linear(inputs=12))
    short = tmp_path / "short.ckpt"
    short.write_bytes(saved.read_bytes()[:-100])
    assert "cannot be read" in begins_with(short)
    alone = tmp_path / "alone.ckpt"
    torch.save({"state_dict": classifier().state_dict()}, alone)
    assert begins_with(alone) == f"ok    checkpoint: {alone} is whole and of this network"
    assert goes_on(alone).startswith(f"FAIL  checkpoint: {alone} has weights but no training state")


def test_the_trainer_is_tried(tmp_path: Path) -> None:
    assert level(doctor.trainer(lambda: trainer(tmp_path))) == "ok"
    text = str(doctor.trainer(lambda: trainer(tmp_path, val_check_interval=2.5)))
    assert text.startswith("FAIL  trainer: You have passed invalid value 2.5 for val_check_interval")
    assert list(tmp_path.iterdir()) == []


# The command line


@pytest.fixture
def report(
    cli: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, list[str]]]:
    """`report(...)` runs `doctor ...`, which has to write nothing; gives the exit code and the lines."""
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str) -> tuple[int, list[str]]:
        before = sorted(tmp_path.rglob("*"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli("doctor", *arguments)
        assert sorted(tmp_path.rglob("*")) == before
        lines = capsys.readouterr().out.splitlines()
        assert all(line.startswith(("ok    ", "note  ", "FAIL  ")) for line in lines)
        assert isinstance(stop.value.code, int)
        return stop.value.code, lines

    return run


Report = Callable[..., tuple[int, list[str]]]


def subjects(lines: list[str], *levels: str) -> list[str]:
    return [line[6:].partition(":")[0] for line in lines if line[:4].strip() in levels]


def test_the_machine_alone(report: Report) -> None:
    code, lines = report()
    assert code == 0
    assert subjects(lines, "ok", "note") == ["packages", "machine", "precision", "folder", "disk", "processes"]


def test_a_configuration_that_is_fine(report: Report, tiny: list[str]) -> None:
    code, lines = report(*tiny)
    assert code == 0
    found = ["packages", "machine", "configuration", "devices", "processes", "precision", "threads", "trainer", "data"]
    assert subjects(lines, "ok", "note") == [*found, "memory", "batches", "network", "folder", "disk"]


def test_a_configuration_of_data_without_a_test_set(report: Report, tmp_path: Path) -> None:
    for number, name in enumerate(["a/1.png", "a/2.png", "b/1.png", "b/2.png"]):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (60 * number, 0, 0)).save(tmp_path / "data" / name)
    given = ["--data=ImageFolder", "--data.data_dir=data", "--data.test_fraction=0", "--data.image_size=8"]
    given += ["--data.batch_size=2", "--data.val_fraction=0", "--model.net=tests.toys.Linear", "--trainer.max_epochs=1"]
    given += ["--model.net.num_classes=2", "--model.net.inputs=192", "--data.cache_dir=cache"]
    folder = ImageFolder("data", image_size=8, test_fraction=0, cache_dir="cache")
    folder.prepare_data()
    code, lines = report(*given)
    assert code == 0, lines
    assert "network" in subjects(lines, "ok")


def test_everything_that_is_wrong_is_found_at_once(report: Report, tiny: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wrong = ["--trainer.num_nodes=3", "--data.batch_size=25", "--model.net.image_size=32"]
    code, lines = report(*tiny, *wrong, "--trainer.default_root_dir=file/run", "--model.optimizer.init_args.lr=-1")
    assert code == 1
    assert subjects(lines, "FAIL") == ["processes", "batches", "network", "folder", "optimizer"]


def test_devices_that_are_not_here(report: Report, tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.cli.machine.devices", lambda cores: {"cuda": 1, "mps": 0, "cpu": cores})
    monkeypatch.setattr("src.cli.machine.bf16_speedup", lambda device: 2.0)
    code, lines = report(*tiny, "--trainer.accelerator=cuda", "--trainer.devices=2")
    assert code == 1
    assert subjects(lines, "FAIL") == ["devices"]


def test_files_at_fault_are_a_finding(report: Report, tmp_path: Path) -> None:
    texts = {
        "trainer: {max_epoch: 3}": "trainer.max_epochs?",
        "trainer: {max_epochs: [1": "is not YAML",
        "{model: {net: src.models.SimpleCNN}, data: {class_path: Shapes, init_args: {batch_size: 0}}}": "at least 1",
    }
    for text, words in texts.items():
        (tmp_path / "recipe.yaml").write_text(text)
        code, lines = report("--config=recipe.yaml")
        assert code == 1
        assert [line for line in lines if line.startswith("FAIL")] == [lines[-1]]
        assert lines[-1].startswith("FAIL  configuration: ") and words in lines[-1]


def test_a_recipe_that_fit_refuses_for_its_end(report: Report, tiny: list[str], tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("{model: {net: src.models.SimpleCNN}, data: Shapes}")
    code, lines = report("--config=recipe.yaml")
    assert code == 1
    (failed,) = [line for line in lines if line.startswith("FAIL")]
    assert failed.startswith("FAIL  configuration: trainer.max_epochs is not set")
    assert report("--config=recipe.yaml", *tiny)[0] == 0
    nothing = "FAIL  configuration: trainer.max_epochs is 0, so there is nothing to train; set at least 1"
    assert nothing in report(*tiny, "--trainer.max_epochs=0")[1]


def test_a_command_line_at_fault_is_refused(fails: Fails, tiny: list[str], tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("trainer: {max_epochs: 3}")
    assert "did you mean trainer.max_epochs" in fails("doctor", "--config=recipe.yaml", *tiny, "--trainer.max_epoch=1")
    assert "at least 1" in fails("doctor", *tiny, "--data.batch_size=0")
    assert "nope.yaml" in fails("doctor", "--config=nope.yaml")
    assert "nope is not a run directory" in fails("doctor", "--resume=nope")
    assert "forget --config" in fails("doctor", "recipe.yaml")


def test_other_processes_of_a_node_stay_silent(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_LOCALID", "1")
    assert report() == (0, [])


@pytest.mark.slow
def test_a_run(report: Report, cli: Run, tiny: list[str]) -> None:
    cli("fit", *tiny, "--trainer.default_root_dir=logs/a/b", "--test_after_fit=false")
    code, lines = report("--resume=a", "--trainer.max_epochs=2")
    assert code == 0
    assert "note  configuration: differs from the saved one: trainer.max_epochs was 1, is 2" in lines
    assert any(line.startswith("ok    checkpoint: logs/a/b/checkpoints/last.ckpt is whole") for line in lines)
    assert any("nothing is left of trainer.max_epochs 1" in line for line in report("--resume=a")[1])
    assert any("checkpoints/best.ckpt is whole" in line for line in report("--run=a")[1])
    last = Path("logs/a/b/checkpoints/last.ckpt")
    shutil.copy(last, last.with_name("previous.ckpt"))
    last.write_bytes(last.read_bytes()[:-100])
    lines = report("--resume=a", "--trainer.max_epochs=2")[1]
    assert any("last.ckpt cannot be read" in line and "previous.ckpt is whole" in line for line in lines)
    assert any("best.ckpt is whole" in line for line in report(*tiny, "--model.init_from=a")[1])
    assert report(*tiny, "--trainer.default_root_dir=logs/a/b")[0] == 1
    optimizer = report("--resume=a", "--model.optimizer=torch.optim.AdamW")[1]
    assert any("is torch.optim.AdamW" in line for line in optimizer)
    shutil.rmtree("logs/a/b/checkpoints")
    code, lines = report("--resume=a")
    assert code == 1 and any("the run ended before its first" in line for line in lines)


CIFAR10 = f"--config={ROOT / 'configs/cifar10.yaml'}"


def test_cifar10_that_is_missing_is_no_fault(report: Report) -> None:
    code, lines = report(CIFAR10, "--data.data_dir=nowhere")
    assert code == 0
    assert any("not there yet; fit will first download cifar-10-python.tar.gz (170 MB)" in line for line in lines)


@pytest.mark.slow
def test_the_real_cifar10(report: Report, cifar10_dir: Path) -> None:
    lines = report(CIFAR10, f"--data.data_dir={cifar10_dir}")[1]
    assert f"ok    data: CIFAR10 in {cifar10_dir}: 50,000 + 10,000 pictures of 32 x 32 x 3, 10 classes, whole" in lines


@pytest.mark.slow
def test_under_torchrun_one_process_speaks(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "-m",
        "src",
        "doctor",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments = [*TINY, "--trainer.devices=2", f"--trainer.default_root_dir={tmp_path / 'run'}"]
    done = subprocess.run(
        [*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert done.stdout.count("ok    processes: torchrun starts 2 on 1 node\n") == 1
    assert "12 pictures a process" in done.stdout
    assert list(tmp_path.iterdir()) == []
