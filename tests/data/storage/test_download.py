"""Downloads from a local server, and archives."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from src.data.storage import download as module
from src.data.storage.download import check_md5, download, unpack
from src.errors import UserError

CONTENT = bytes(range(250)) * 400  # 100,000 bytes
SIZE = len(CONTENT)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """The path names the method that answers."""

    @property
    def local(self) -> Server:
        assert isinstance(self.server, Server)
        return self.server

    def do_GET(self) -> None:
        name = self.path.strip("/")
        self.local.requests.append(name)
        getattr(self, name)()

    def send(self, body: bytes, length: int = SIZE) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def good(self) -> None:
        self.send(CONTENT)

    def labelled_as_compressed(self) -> None:
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(CONTENT)

    def breaks(self) -> None:
        self.send(CONTENT[:40_000])

    def wrong(self) -> None:
        self.send(bytes(SIZE))

    def login_page(self) -> None:
        self.send(b"please log in", 13)

    def endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(bytes(SIZE + 1))

    def missing(self) -> None:
        self.send_error(404)

    def forbidden(self) -> None:
        self.send_error(403)

    def silent(self) -> None:
        self.local.closing.wait(5)

    def stalls(self) -> None:
        self.send(CONTENT[:40_000])
        self.local.closing.wait(5)

    def slow(self) -> None:
        """Takes an hour for the first 3,600 bytes: 1 byte/s."""
        self.local.seconds += 3600
        self.send(CONTENT[:3600])
        self.wfile.flush()
        self.local.closing.wait(0.05)
        self.wfile.write(CONTENT[3600:])

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str] = []
        self.closing = threading.Event()
        self.seconds = 0.0

    def urls(self, *names: str) -> list[str]:
        return [f"http://127.0.0.1:{self.server_port}/{name}" for name in names]

    def download(self, target: Path, *names: str, num_bytes: int = SIZE) -> None:
        download(self.urls(*names), target, MD5, num_bytes)

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that closes its connection early


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as server:
        monkeypatch.setattr(module, "monotonic", lambda: server.seconds)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new" / "archive.tar.gz"


def assert_complete(target: Path) -> None:
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


def test_progress_is_printed(server: Server, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.download(target, "good")
    assert_complete(target)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"downloading archive.tar.gz from {server.urls('good')[0]}"
    assert any(line.startswith("archive.tar.gz: 100k of 100k, ") for line in lines)


def test_existing_file_is_not_downloaded(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    server.download(target, "good")
    assert server.requests == []
    assert_complete(target)  # no lock either, as the folder may be read-only


def test_incomplete_existing_file_is_reported_and_kept(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(CONTENT[:99])
    with pytest.raises(UserError, match=f"{target} is corrupted .*99 bytes.*{MD5}.*away"):
        server.download(target, "good")
    assert target.read_bytes() == CONTENT[:99]


def test_partial_file_of_a_killed_process_is_replaced(server: Server, target: Path) -> None:
    target.parent.mkdir()
    part = target.with_name("archive.tar.gz.part")
    part.mkdir()
    (part / target.name).write_bytes(CONTENT[:10])
    server.download(target, "good")
    assert_complete(target)


def test_content_is_not_decompressed(server: Server, target: Path) -> None:
    server.download(target, "labelled_as_compressed")
    assert_complete(target)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "404 Not Found"),
        ("forbidden", "403, message='Forbidden'"),
        ("wrong", f"sends a file of 100,000 bytes with MD5 {hashlib.md5(bytes(SIZE)).hexdigest()}, not {MD5}"),
        ("login_page", "sends a file of 13 bytes with MD5"),
        ("endless", "sends more than 100,000 bytes"),
        ("breaks", "payload is not completed"),
        ("silent", "sends nothing for 0.1 s"),
        ("stalls", "sends nothing for 0.1 s"),
    ],
)
def test_failing_mirror_is_reported_and_the_next_one_used(
    name: str,
    reason: str,
    server: Server,
    target: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.1)
    server.download(target, name, "good")
    assert_complete(target)
    assert server.requests == [name, "good"]
    assert reason in capsys.readouterr().err


def test_error_names_each_mirror_and_leaves_nothing(server: Server, target: Path) -> None:
    missing, wrong = server.urls("missing", "wrong")
    closed = "http://127.0.0.1:1/closed"
    with pytest.raises(UserError) as caught:
        download([missing, wrong, closed], target, MD5, SIZE, advice="Do this.")
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{target} does not exist, and no mirror serves it:"
    assert lines[1] == f"  {missing}: 404 Not Found"
    assert lines[2].startswith(f"  {wrong}: sends a file of 100,000 bytes with MD5")
    assert lines[3].startswith(f"  {closed}: Cannot connect to host 127.0.0.1:1")
    assert lines[4:] == ["Do this."]
    assert not target.parent.exists()


@pytest.mark.parametrize(("min_rate", "requests"), [(0.99, ["slow"]), (1.01, ["slow", "good"])])
def test_minimum_rate(
    min_rate: float, requests: list[str], server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MIN_RATE", min_rate)
    server.download(target, "slow", "good")
    assert_complete(target)
    assert server.requests == requests


def test_slow_mirror_is_used_if_the_others_fail(server: Server, target: Path) -> None:
    server.download(target, "slow", "missing")
    assert_complete(target)
    assert server.requests == ["slow", "missing", "slow"]


def test_concurrent_calls_download_once(server: Server, target: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: server.download(target, "good"), range(4)))
    assert_complete(target)
    assert server.requests == ["good"]


def test_free_space_is_checked_first(server: Server, target: Path) -> None:
    with pytest.raises(UserError, match=f"{target.parent} has .* MB free, but the download needs 1,000,000,000,000 MB"):
        server.download(target, "good", num_bytes=10**18)
    assert server.requests == []
    assert not target.parent.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_full_disk_is_reported(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdir = Path.mkdir

    def with_full_disk(folder: Path, *args: Any, **kwargs: Any) -> None:
        mkdir(folder, *args, **kwargs)
        if folder.suffix == ".part":
            (folder / target.name).symlink_to("/dev/full")

    monkeypatch.setattr(Path, "mkdir", with_full_disk)
    with pytest.raises(UserError, match="No space left on device"):
        server.download(target, "good", "good")
    assert len(server.requests) == 1  # another mirror would not help


# Archives


def make_tar(path: Path, **files: bytes) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"files/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_wrong_checksum_is_reported_with_file_size_and_advice(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    check_md5(tmp_path / "file", MD5, "not shown")
    with pytest.raises(UserError) as caught:
        check_md5(tmp_path / "file", "0" * 32, "Do this.")
    for words in (str(tmp_path / "file"), MD5, "0" * 32, "100,000 bytes", "Do this."):
        assert words in str(caught.value)


def test_unpacking_leaves_nothing_but_the_folder(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", one=b"1", two=b"22")
    unpack(archive, tmp_path / "files")
    assert (tmp_path / "files" / "two").read_bytes() == b"22"
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar.gz", "files"}


def test_existing_folder_is_not_changed(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", one=b"1")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "one").write_bytes(b"mine")
    unpack(archive, tmp_path / "files")
    assert (tmp_path / "files" / "one").read_bytes() == b"mine"


def test_unpacking_deletes_the_remains_of_a_killed_process(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", one=b"1")
    (tmp_path / "files.part" / "files").mkdir(parents=True)
    (tmp_path / "files.part" / "files" / "stale").write_bytes(b"")
    unpack(archive, tmp_path / "files")
    assert [path.name for path in (tmp_path / "files").iterdir()] == ["one"]


def test_failed_unpacking_leaves_nothing(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", one=os.urandom(5000))
    archive.write_bytes(archive.read_bytes()[:3000])
    with pytest.raises((EOFError, tarfile.ReadError)):
        unpack(archive, tmp_path / "files")
    assert list(tmp_path.iterdir()) == [archive]


def test_members_outside_the_folder_are_rejected(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", **{"../../outside": b"!"})
    with pytest.raises(tarfile.OutsideDestinationError):
        unpack(archive, tmp_path / "inner" / "files")
    assert not list(tmp_path.rglob("outside"))
