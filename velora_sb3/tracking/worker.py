"""The process that a tracker's package lives in.

The packages replace ``sys.excepthook`` and ``sys.exit``, print, start threads and programs, and wait for servers. Here
nobody minds. It takes calls from the training process, pickled, until there are no more, and reports back in JSON.
"""

from __future__ import annotations

import http.client
import json
import os
import pickle
import signal
import ssl
import sys
import threading
import urllib.error
import urllib.request
from contextlib import suppress
from typing import Any, BinaryIO, Protocol, TextIO

ANSWER_LIMIT_S = 5.0
LINGER_S = 600.0


class Run(Protocol):
    """A run of one of the trackers."""

    server: str | None
    """What it sends to; None for a run on disk."""

    def log(self, row: dict[str, Any], step: int, episode: int | None) -> None:
        """Record values, at a timestep."""

    def video(self, path: str, step: int) -> None:
        """Record a video file."""

    def checkpoint(self, path: str, step: int) -> None:
        """Record a file or directory as a model."""

    def whereabouts(self) -> str:
        """Where the run is to be found, in words."""

    def on_disk(self) -> str:
        """Where that is to be found which a server did not get, in words."""

    def finish(self, in_peace: bool) -> None:
        """Send or write everything."""


def make_run(kind: str, online: bool, settings: dict[str, Any]) -> Run:
    """Start a tracker's run."""
    if kind == "comet":
        from velora_sb3.tracking.comet_run import CometRun

        return CometRun(online, **settings)
    from velora_sb3.tracking.wandb_run import WandbRun

    return WandbRun(online, **settings)


def answers(url: str, limit_s: float = ANSWER_LIMIT_S) -> bool:
    """Whether a server answers anything at all.

    The packages find out too, after half a minute or never.
    """
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=limit_s).close()
    except (urllib.error.HTTPError, http.client.HTTPException):
        return True
    except urllib.error.URLError as error:  # a package may know certificates that we do not
        return isinstance(error.reason, ssl.SSLError)
    except OSError:
        return False
    return True


class SilentServerError(ConnectionError):
    """A server that cannot be reached, or does not answer."""


def check_answers(url: str) -> None:
    """Raise if a server does not answer."""
    if not answers(url):
        raise SilentServerError(f"{url} does not answer")


def main() -> None:
    """Serve one run."""
    calls, reports = _take_streams()

    def report(**news: Any) -> None:
        with suppress(OSError):  # nobody listens any more
            reports.write(json.dumps(news) + "\n")
            reports.flush()

    kind, online, settings = pickle.load(calls)
    try:
        try:
            run = make_run(kind, online, settings)
        except SilentServerError as error:
            report(offline=True, problem=f"{error}; the run goes to disk")
            run = make_run(kind, False, settings)
        report(started=True, whereabouts=run.whereabouts())
    except BaseException as error:
        report(failure=_one_line(error))
        return
    in_peace = _serve(run, calls, report)

    if run.server is not None and not answers(run.server):
        report(released=True, problem=f"{run.server} does not answer; what it has not got is in {run.on_disk()}")
    last = threading.Timer(LINGER_S, os._exit, (1,))  # a package that never comes back must not leave us here
    last.daemon = True
    last.start()
    try:
        run.finish(in_peace)
    except BaseException as error:
        report(problem=f"at its end: {_one_line(error)}")
    report(finished=True, whereabouts=run.whereabouts())


def _serve(run: Run, calls: BinaryIO, report: Any) -> bool:
    """Make the calls as they come in; True if somebody said that these were all."""
    complained = False
    while True:
        try:
            name, arguments = pickle.load(calls)
        except Exception:  # the training process is gone
            return False
        if name == "finish":
            return True
        try:
            getattr(run, name)(*arguments)
        except Exception as error:
            if not complained:
                report(problem=f"{name}: {_one_line(error)}")
            complained = True


def _take_streams() -> tuple[BinaryIO, TextIO]:
    """Standard input and output for ourselves; packages, and the programs that they start, get none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training process, which tells us when to end
    calls, reports = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    sys.path[:] = pickle.load(calls)
    return calls, reports


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
