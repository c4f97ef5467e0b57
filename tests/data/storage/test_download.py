import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import src.data.storage.download
from src.data.storage.archive import Archive
from src.data.storage.download import fetch
from src.errors import UserError
from tests.conftest import ROOT

CONTENT = bytes(range(250)) * 400  # 100,000 bytes
SIZE = len(CONTENT)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """The first part of the path says how to behave."""

    @property
    def state(self) -> "Server":
        assert isinstance(self.server, Server)
        return self.server

    def do_GET(self) -> None:
        behaviour = self.path.strip("/")
        span = self.headers.get("Range")
        self.state.asked.append((behaviour, span))
        getattr(self, behaviour)(int(span[6:-1]) if span else 0)

    def send(self, start: int, body: bytes, length: int, total: int = SIZE) -> None:
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def good(self, start: int) -> None:
        self.send(start, CONTENT[start:], SIZE - start)

    def no_range(self, start: int) -> None:
        self.send(0, CONTENT, SIZE)

    def breaks(self, start: int) -> None:
        self.send(start, CONTENT[start : start + 40_000], SIZE - start)

    def breaks_at_once(self, start: int) -> None:
        self.send(start, b"", SIZE - start)

    def wrong(self, start: int) -> None:
        self.send(start, bytes(SIZE - start), SIZE - start)

    def wrong_range(self, start: int) -> None:
        self.send(start, CONTENT[start:], SIZE - start, total=SIZE + 1)

    def page(self, start: int) -> None:
        self.send(0, b"please log in", 13)

    def endless(self, start: int) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(bytes(SIZE + 1))

    def missing(self, start: int) -> None:
        self.send_error(404)

    def silent(self, start: int) -> None:
        self.state.over.wait(5)

    def stalls(self, start: int) -> None:
        self.breaks(start)
        self.state.over.wait(5)

    def drips(self, start: int) -> None:
        self.state.now += 3600
        self.send(start, CONTENT[start : start + 3_600], SIZE - start)
        self.state.over.wait(0.05)
        self.wfile.write(CONTENT[start + 3_600 :])

    def crawl(self, start: int, first: int) -> None:
        """Takes an hour for the first bytes and does not end; who comes again gets it all."""
        if sum(name == self.path.strip("/") for name, _ in self.state.asked) > 1:
            return self.good(start)
        self.state.now += 3600
        self.send(start, CONTENT[start : start + first], SIZE - start)
        self.state.over.wait(5)

    def crawls(self, start: int) -> None:
        self.crawl(start, 100)

    def crawls_less(self, start: int) -> None:
        self.crawl(start, 3_600)

    def crawls_too(self, start: int) -> None:
        self.crawl(start, 100)

    def slow_once(self, start: int) -> None:
        self.state.over.wait(0.1)
        self.good(start)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []
        self.over = threading.Event()
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def archive(self, *behaviours: str, size: int = SIZE) -> Archive:
        return Archive([f"http://127.0.0.1:{self.server_port}/{name}" for name in behaviours], MD5, size)

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients that hang up are what is tested here


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new" / "things.tar.gz"


def leave_part(target: Path, content: bytes) -> None:
    target.parent.mkdir()
    target.with_name("things.tar.gz.part").write_bytes(content)


def assert_whole(target: Path) -> None:
    assert target.read_bytes() == CONTENT
    assert not target.with_name("things.tar.gz.part").exists()


def test_fetches_and_says_how_far_it_is(
    server: Server, target: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(src.data.storage.download, "CHUNK_BYTES", 10_000)
    fetch(target, server.archive("good"))
    assert_whole(target)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"things.tar.gz from 127.0.0.1:{server.server_port}"
    assert lines[-1] == "things.tar.gz: 0 of 0 MB"  # 0.1 MB, rounded
    assert 2 <= len(lines) <= 11


def test_shows_a_bar_on_a_terminal(
    server: Server, target: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    fetch(target, server.archive("good"))
    assert_whole(target)
    assert "100%" in capsys.readouterr().err


def test_asks_nobody_for_a_file_that_is_there(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    fetch(target, server.archive("good"))
    assert server.asked == []
    assert list(target.parent.iterdir()) == [target]  # no lock either: the folder may be read-only


def test_a_truncated_file_that_is_there_is_named_and_kept(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(CONTENT[:99])
    with pytest.raises(UserError, match=f"{target} was altered .*99 bytes.*{MD5}.*away"):
        fetch(target, server.archive("good"))
    assert target.read_bytes() == CONTENT[:99]


def test_goes_on_where_an_earlier_run_stopped(server: Server, target: Path) -> None:
    leave_part(target, CONTENT[:70_000])
    fetch(target, server.archive("good"))
    assert_whole(target)
    assert server.asked == [("good", "bytes=70000-")]


def test_a_part_that_is_whole_already_only_gets_its_name(server: Server, target: Path) -> None:
    leave_part(target, CONTENT)
    fetch(target, server.archive("good"))
    assert_whole(target)
    assert server.asked == []


def test_begins_anew_where_a_server_cannot_go_on_in_the_middle(server: Server, target: Path) -> None:
    leave_part(target, b"x" * 70_000)
    fetch(target, server.archive("no_range"))
    assert_whole(target)
    assert server.asked == [("no_range", "bytes=70000-")]


def test_begins_anew_where_the_resumed_file_is_wrong(server: Server, target: Path) -> None:
    leave_part(target, b"x" * 70_000)
    fetch(target, server.archive("good"))
    assert_whole(target)
    assert server.asked == [("good", "bytes=70000-"), ("good", None)]


def test_resumes_a_connection_that_breaks(server: Server, target: Path) -> None:
    fetch(target, server.archive("breaks"))
    assert_whole(target)
    assert [span for _, span in server.asked] == [None, "bytes=40000-", "bytes=80000-"]


def test_gives_up_on_breaking_connections_that_bring_nothing_and_keeps_the_part(server: Server, target: Path) -> None:
    leave_part(target, CONTENT[:10])
    with pytest.raises(UserError, match="broke off after 10 of 100,000 bytes"):
        fetch(target, server.archive("breaks_at_once"))
    assert len(server.asked) <= src.data.storage.download.CONNECTIONS
    assert target.with_name("things.tar.gz.part").read_bytes() == CONTENT[:10]
    assert not target.exists()


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("missing", "answers 404 Not Found"),
        ("wrong", f"sends a file whose MD5 is not {MD5}"),
        ("page", "offers a file of 13 bytes, expected are 100000"),
        ("endless", "sends more than 100000 bytes"),
        ("silent", "silent for 0.1 s"),
    ],
)
def test_what_is_useless_is_left_for_the_next_and_told(
    behaviour: str, reason: str, server: Server, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(target, server.archive(behaviour, "good"), patience_seconds=0.1)
    assert_whole(target)
    assert [name for name, _ in server.asked] == [behaviour, "good"]
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("behaviour", ["page", "wrong_range", "missing"])
def test_a_useless_answer_does_not_cost_the_part(behaviour: str, server: Server, target: Path) -> None:
    leave_part(target, CONTENT[:70_000])
    fetch(target, server.archive(behaviour, "good"))
    assert_whole(target)
    assert server.asked[-1] == ("good", "bytes=70000-")


def test_no_address_helps(server: Server, target: Path) -> None:
    archive = server.archive("missing", "wrong")
    nobody = "http://127.0.0.1:1/nobody"
    with pytest.raises(UserError) as caught:
        fetch(target, archive._replace(urls=[*archive.urls, nobody]), advice="Do this.")
    for words in (
        str(target.parent),
        f"{archive.urls[0]}: answers 404 Not Found",
        f"{archive.urls[1]}: sends a file whose MD5",
        f"{nobody}: Connection refused",
        "Do this.",
    ):
        assert words in str(caught.value)
    assert not target.exists()


def test_one_that_crawls_is_left_and_the_next_goes_on(server: Server, target: Path) -> None:
    fetch(target, server.archive("crawls", "good"), clock=server.clock)
    assert_whole(target)
    assert server.asked == [("crawls", None), ("good", "bytes=100-")]


def test_one_that_stalls_is_left_and_the_next_goes_on(server: Server, target: Path) -> None:
    fetch(target, server.archive("stalls", "good"), patience_seconds=0.1, min_bytes_per_second=1)
    assert_whole(target)
    assert server.asked == [("stalls", None), ("good", "bytes=40000-")]


def test_where_all_crawl_the_fastest_finishes(server: Server, target: Path) -> None:
    fetch(target, server.archive("crawls", "crawls_less", "crawls_too"), clock=server.clock)
    assert_whole(target)
    assert [name for name, _ in server.asked] == ["crawls", "crawls_less", "crawls_too", "crawls_less"]


def test_where_the_others_fail_one_that_crawls_finishes(server: Server, target: Path) -> None:
    fetch(target, server.archive("crawls", "missing"), clock=server.clock)
    assert_whole(target)
    assert [name for name, _ in server.asked] == ["crawls", "missing", "crawls"]


@pytest.mark.parametrize("behaviours", [("drips",), ("missing", "drips")])
def test_the_only_one_left_may_crawl(behaviours: tuple[str, ...], server: Server, target: Path) -> None:
    fetch(target, server.archive(*behaviours), clock=server.clock)
    assert_whole(target)
    assert len(server.asked) == len(behaviours)


@pytest.mark.parametrize(("minimum", "asked"), [(0.99, ["drips"]), (1.01, ["drips", "good"])])
def test_what_a_crawl_is(minimum: float, asked: list[str], server: Server, target: Path) -> None:
    # 3,600 bytes in an hour are one a second.
    fetch(target, server.archive("drips", "good"), min_bytes_per_second=minimum, clock=server.clock)
    assert_whole(target)
    assert [name for name, _ in server.asked] == asked


def test_threads_at_once_download_once(server: Server, target: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: fetch(target, server.archive("slow_once")), range(4)))
    assert_whole(target)
    assert server.asked == [("slow_once", None)]


def test_processes_at_once_download_once(server: Server, target: Path) -> None:
    # src.data's own __init__ would import torch, seconds in each process.
    script = """if True:
        import pathlib, sys, types
        sys.modules["src.data"] = types.ModuleType("src.data")
        sys.modules["src.data"].__path__ = ["src/data"]
        from src.data.storage.archive import Archive
        from src.data.storage.download import fetch
        fetch(pathlib.Path(sys.argv[1]), Archive([sys.argv[2]], sys.argv[3], int(sys.argv[4])))
    """
    archive = server.archive("slow_once")
    command = [sys.executable, "-c", script, str(target), archive.urls[0], MD5, str(SIZE)]
    processes = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(30) for process in processes] == [0, 0]
    assert_whole(target)
    assert server.asked == [("slow_once", None)]


def test_no_room_is_told_before_anything_is_asked(server: Server, target: Path) -> None:
    with pytest.raises(UserError, match=f"{target.parent} has .* MB free, and 1,000,000,000,000 MB"):
        fetch(target, server.archive("good", size=10**18))
    assert server.asked == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_a_disk_that_fills_up_is_told(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("things.tar.gz.part").symlink_to("/dev/full")
    with pytest.raises(UserError, match="No space left on device"):
        fetch(target, server.archive("good", "good"))
    assert len(server.asked) == 1  # no other address would help
