"""Who may import whom, and what importing the package costs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "velora_sb3"
ROOT = "the package itself"

# Small helpers that every part may import, and that import nothing of ours.
HELPERS = {"_headless", "_optional", "_statistics"}

# The parts of velora_sb3 that each part may import, besides itself and the helpers.
MAY_IMPORT = {
    **{helper: set() for helper in HELPERS},
    "cells": set(),
    "envs": set(),
    "metrics": {"callbacks"},  # RecordMetrics is one
    "checkpoints": set(),
    "tracking": set(),
    "plotting": {"cells"},
    "memory": {"cells"},
    "policies": {"memory", "cells"},
    "algorithms": {"policies", "memory", "cells"},
    "callbacks": {"checkpoints", "tracking", "plotting"},
    "benchmarks": {"policies", "algorithms", "memory", "cells", "envs"},
    "finrl": {"policies", "algorithms", "callbacks", "memory", "checkpoints", "plotting"},
}
MAY_IMPORT_EVERYTHING = {"__init__", "__main__", "cli"}
OPTIONAL = ["wandb", "comet_ml", "matplotlib", "moviepy", "ray", "finrl", "rl_zoo3", "IPython"]


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(path: Path) -> Iterator[tuple[int, str]]:
    """Line and part of velora_sb3 for each import in a file, also those within functions."""
    package = ["velora_sb3", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            modules = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            first, _, rest = module.partition(".")
            if first == "velora_sb3":
                part = rest.partition(".")[0]
                exists = (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").exists()
                yield node.lineno, part if part and exists else ROOT


FILES = [pytest.param(path, id=str(path.relative_to(PACKAGE))) for path in sorted(PACKAGE.rglob("*.py"))]


@pytest.mark.parametrize("path", FILES)
def test_imports_follow_the_layers(path):
    part = part_of(path)
    if part in MAY_IMPORT_EVERYTHING:
        return
    assert part in MAY_IMPORT, f"say in {Path(__file__).name} what {part} may import"
    allowed = {part} | MAY_IMPORT[part] | (set() if part in HELPERS else HELPERS)
    wrong = [f"line {line}: {imported}" for line, imported in imported_parts(path) if imported not in allowed]
    assert not wrong


def test_imports_are_seen():
    assert {part for _, part in imported_parts(PACKAGE / "policies" / "recurrent.py")} == {
        "cells",
        "memory",
        "policies",
    }


def test_importing_the_package_imports_nothing_optional():
    parts = "velora_sb3, velora_sb3.callbacks, velora_sb3.finrl"
    program = f"import sys, {parts}; print([name for name in {OPTIONAL} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
