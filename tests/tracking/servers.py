"""Servers on this machine: one that is not there, one that accepts and keeps silent, one that answers anything."""

import contextlib
import http.server
import json
import socket
import threading
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"  # bound, but nobody listens


@contextlib.contextmanager
def hanging() -> Iterator[str]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(100)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


class _Tracker(http.server.BaseHTTPRequestHandler):
    """As much of both trackers' servers as their packages need to believe in a run."""

    protocol_version = "HTTP/1.1"
    server: "Answering"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.silent.is_set():
            self.server.closing.wait()
            return
        self.server.requests.append((self.path, body))
        status, reply = (self.server.status, {}) if self.server.status != 200 else self.reply(body)
        text = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_HEAD = do_POST = do_PUT = answer

    def reply(self, body: bytes) -> tuple[int, dict]:
        if self.path.endswith("/graphql"):
            asked = json.loads(body)
            if "UpsertBucket" in asked["query"]:
                project = {"id": "1", "name": "p", "entity": {"id": "1", "name": "e"}}
                bucket = {"id": "1", "name": asked["variables"].get("name"), "config": "{}", "project": project}
                return 200, {"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}}
            if "CreateRunFiles" in asked["query"]:
                files = [
                    {"name": name, "uploadUrl": f"{self.server.url}/{name}"} for name in asked["variables"]["files"]
                ]
                return 200, {"data": {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}}
            return 200, {"data": {}}
        if "add/run" in self.path:
            return 200, {"runId": "1", "projectId": "1"}
        if "isAlive/ver" in self.path:
            return 200, {"version": "3.9.9"}
        return (404 if "experiment/metadata" in self.path else 200), {}

    def log_message(self, *_: object) -> None:
        pass


class Answering(http.server.ThreadingHTTPServer):
    """A server that answers, with an error if it has one as status, until it is told to keep silent."""

    daemon_threads = True

    def __init__(self, status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), _Tracker)
        self.status, self.url = status, f"http://127.0.0.1:{self.server_port}"
        self.requests: list[tuple[str, bytes]] = []
        self.silent, self.closing = threading.Event(), threading.Event()

    def handle_error(self, *_: object) -> None:
        """Whoever asked did not wait for the answer."""


@contextlib.contextmanager
def answering(status: int = 200) -> Iterator[Answering]:
    with Answering(status) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.closing.set()
        server.shutdown()


def use_server(url: str, patch: pytest.MonkeyPatch) -> None:
    """Have both packages send to a server of ours, with keys that look like some."""
    patch.setenv("COMET_URL_OVERRIDE", f"{url}/clientlib/")
    patch.setenv("COMET_API_KEY", "k" * 25)
    patch.setenv("WANDB_BASE_URL", url)
    patch.setenv("WANDB_API_KEY", "k" * 40)
