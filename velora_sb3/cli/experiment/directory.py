"""The directory of a run. An existing one is never overwritten."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from velora_sb3._atomic import write_text
from velora_sb3.cli.errors import UserError

RESULT_FILE = "result.json"


def create_run_directory(
    wanted: str | None, algo: str, env: str, parent: Path = Path("runs"), may_exist: bool = False
) -> Path:
    """Create a new directory, or use an existing one if the wanted one may exist."""
    try:
        if wanted is not None:
            directory = Path(wanted)
            directory.mkdir(parents=True, exist_ok=may_exist)
        else:
            directory = _next_free(parent, f"{algo}-{re.sub(r'[^A-Za-z0-9._-]+', '_', env)}")
    except FileExistsError as error:
        raise UserError(f"the run directory {error.filename} already exists: choose another with --run-dir") from error
    except OSError as error:
        raise UserError(f"cannot create the run directory {error.filename}: {error.strerror}") from error
    return directory


def _next_free(parent: Path, stem: str) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    numbered = re.compile(re.escape(stem) + r"-(\d+)")
    taken = [int(match[1]) for path in parent.iterdir() if (match := numbered.fullmatch(path.name))]
    number = max(taken, default=0) + 1
    while True:
        directory = parent / f"{stem}-{number}"
        try:
            directory.mkdir()
        except FileExistsError:  # another run has just taken it
            number += 1
        else:
            return directory


@contextmanager
def lock_run(directory: Path) -> Iterator[None]:
    """Lock a run against other processes."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"another process is training the run in {directory}: wait until it ends, or stop it"
                ) from error
        yield
    finally:
        os.close(handle)


def write_result(directory: Path, result: dict[str, Any]) -> None:
    """Write ``result.json``, which marks a run as finished."""
    write_text(directory / RESULT_FILE, json.dumps(result, indent=2) + "\n")


def read_result(directory: Path) -> dict[str, Any] | None:
    """The result of a finished run; None if it is not finished."""
    try:
        result = json.loads((directory / RESULT_FILE).read_text(encoding="utf-8"))
        return {**result, "steps": int(result["steps"]), "planned_steps": int(result["planned_steps"])}
    except (OSError, ValueError, KeyError, TypeError):  # none, or not ours
        return None
