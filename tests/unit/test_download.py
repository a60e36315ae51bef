"""Downloads against a server on this machine: whole or not at all, and one at a time."""

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from ddpipe.datasets.readers.download import fetch
from ddpipe.errors import UserError

CONTENT = bytes(range(256)) * 1000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Server(ThreadingHTTPServer):
    """/whole has the file, /other another one, /cut breaks off; a download waits in its middle for `go`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.begun, self.go = Event(), Event()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        content = CONTENT[::-1] if self.path == "/other" else CONTENT
        self.wfile.write(content[:1000])
        self.server.begun.set()
        assert self.server.go.wait(30)
        if self.path != "/cut":
            self.wfile.write(content[1000:])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.go.set()
        server.shutdown()
        thread.join()


def test_the_second_of_two_downloads_is_refused(tmp_path: Path, server: Server) -> None:
    path = tmp_path / "raw" / "file"
    first = Thread(target=fetch, args=("one", path, MD5, [server.url("whole")], "it"))
    first.start()
    assert server.begun.wait(30)
    for _ in range(2):  # to be refused takes nothing from the first
        with pytest.raises(UserError, match=f"datasets.two: another process is downloading {path}; wait for it"):
            fetch("two", path, MD5, [server.url("whole")], "it")
    assert not path.exists()
    server.go.set()
    first.join()
    assert path.read_bytes() == CONTENT and list(path.parent.iterdir()) == [path]


def test_the_next_address_is_tried(tmp_path: Path, server: Server) -> None:
    server.go.set()
    path = tmp_path / "file"
    fetch("one", path, MD5, [server.url("other"), server.url("cut"), server.url("whole")], "it")
    assert path.read_bytes() == CONTENT and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["other", "cut"])
def test_none_has_it(tmp_path: Path, server: Server, name: str) -> None:
    server.go.set()
    path = tmp_path / "file"
    with pytest.raises(UserError, match=f"{path} is missing and cannot be downloaded .*; put all of them into"):
        fetch("one", path, MD5, [server.url(name)], "all of them")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("left", [CONTENT, CONTENT[:1000], CONTENT + b"more"])
def test_what_a_killed_download_left(tmp_path: Path, server: Server, left: bytes) -> None:
    server.go.set()
    (tmp_path / "file.part").write_bytes(left)
    fetch("one", tmp_path / "file", MD5, [server.url("whole")], "it")
    assert (tmp_path / "file").read_bytes() == CONTENT and len(list(tmp_path.iterdir())) == 1
    assert server.begun.is_set() == (left != CONTENT)
