"""A clear error for models that velora-sb3 0.1 saved and that cannot be loaded any more."""

from __future__ import annotations

import sys
from typing import Any

# SB3 unpickles a policy class by the name of its module. These modules are gone; those of other policies stayed.
MOVED = ("velora_sb3.policies.recurrent", "velora_sb3.policies.recurrent_maskable")


class MovedModules:
    """A finder of modules that finds none: Python asks it last, for what no other finder knows."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        """Raise ``ModuleNotFoundError`` for a module of velora-sb3 0.1."""
        if name in MOVED:
            raise ModuleNotFoundError(
                f"{name} is a module of velora-sb3 0.1: the file was saved by that version. Train the model again, or "
                "load it with velora-sb3 0.1",
                name=name,
            )


def explain_moved_modules() -> None:
    """Let imports of moved modules, as unpickling makes them, fail with that error. Idempotent."""
    if MovedModules not in sys.meta_path:
        sys.meta_path.append(MovedModules)
