"""Serves one run: reads pickled calls from the training process, and reports back in JSON.

The packages replace ``sys.excepthook`` and ``sys.exit``, print, start threads and programs, and wait for servers. Here
none of that matters.
"""

from __future__ import annotations

import http.client
import importlib
import json
import os
import pickle
import signal
import ssl
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO, Protocol, TextIO

SERVER_TIMEOUT_S = 5.0
FINISH_TIMEOUT_S = 600.0


class Run(Protocol):
    """A run of one of the trackers; the module ``<kind>_run`` has one."""

    def __init__(self, online: bool, **settings: Any) -> None:
        """Start the run."""

    @staticmethod
    def server_url() -> str:
        """The server that online runs are sent to."""

    def log(self, row: dict[str, Any], step: int, episode: int | None) -> None:
        """Record values at a timestep."""

    def video(self, path: str, step: int) -> None:
        """Record a video file."""

    def checkpoint(self, path: str, step: int) -> None:
        """Record a file or directory as a model."""

    def location(self) -> str:
        """Where to find the run: a URL or a path."""

    def local_copy(self) -> str:
        """Where to find what a server did not receive."""

    def substitute_directory(self) -> str | None:
        """Where the files are if the directory for them cannot be written; the packages choose a temporary one."""

    def finish(self, success: bool) -> None:
        """Send or write everything."""


def responds(url: str, timeout_s: float = SERVER_TIMEOUT_S) -> bool:
    """Whether a server responds at all. The packages find out too, after half a minute or never."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=timeout_s).close()
    except (urllib.error.HTTPError, http.client.HTTPException):
        return True
    except urllib.error.URLError as error:  # a package may know certificates that we do not
        return isinstance(error.reason, ssl.SSLError)
    except OSError:
        return False
    return True


def main() -> None:
    """Serve one run."""
    calls, reports = _claim_streams()

    def report(**message: Any) -> None:
        with suppress(OSError):  # the training process is gone
            reports.write(json.dumps(message) + "\n")
            reports.flush()

    sys.path[1:] = pickle.load(calls)
    kind, online, settings = pickle.load(calls)
    try:
        run_class: type[Run] = importlib.import_module(f"{kind}_run").Run
        server = run_class.server_url() if online else None
        if server is not None and not responds(server):
            report(offline=True, problem=f"{server} does not respond; recording to disk instead")
            server = None
        run = run_class(server is not None, **settings)
        if (substitute := run.substitute_directory()) is not None:
            report(problem=f"the directory for its files cannot be written; recording to {substitute} instead")
        report(started=True, location=run.location())
    except BaseException as error:
        report(failure=_one_line(error))
        return
    success = _serve(run, calls, report)

    if server is not None and not responds(server):
        report(released=True, problem=f"{server} does not respond; unsent data is in {run.local_copy()}")
    watchdog = threading.Timer(FINISH_TIMEOUT_S, os._exit, (1,))  # should a package never return
    watchdog.daemon = True
    watchdog.start()
    try:
        run.finish(success)
    except BaseException as error:
        report(problem=f"finish: {_one_line(error)}")
    report(finished=True, location=run.location())


def _serve(run: Run, calls: BinaryIO, report: Callable[..., None]) -> bool:
    """Make the calls as they come in; whether training ended as it should, False if its process died."""
    reported = False
    while True:
        try:
            name, arguments = pickle.load(calls)
        except Exception:
            return False
        if name == "finish":
            success: bool = arguments[0]
            return success
        try:
            getattr(run, name)(*arguments)
        except Exception as error:
            if not reported:
                report(problem=f"{name}: {_one_line(error)}")
            reported = True


def _claim_streams() -> tuple[BinaryIO, TextIO]:
    """Keep standard input and output to ourselves; packages, and the programs that they start, get none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training process, which says when to end
    calls, reports = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    return calls, reports


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


if __name__ == "__main__":
    main()
