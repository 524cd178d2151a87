"""The C compiler of this machine."""

from __future__ import annotations

import os
import shlex
import shutil


def find_compiler() -> list[str] | None:
    """The command of ``$CC`` with its arguments, else ``cc``, ``gcc`` or ``clang``; None if there is none."""
    given = shlex.split(os.environ.get("CC", ""))
    commands = [given] if given else [["cc"], ["gcc"], ["clang"]]
    return next(([found, *rest] for name, *rest in commands if (found := shutil.which(name))), None)
