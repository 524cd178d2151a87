"""Who may import whom, how large a folder may grow, and what importing the package costs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "velora_sb3"
ROOT = "velora_sb3"

# Small helpers that every part may import, and that import nothing of ours but one another.
HELPERS = {
    "_atomic", "_call_env", "_compiler", "_headless", "_logger_writes", "_normalization", "_optional", "_signals",
    "_statistics", "_validation",
}  # fmt: skip

# The parts of velora_sb3 that each part may import, besides itself and the helpers.
MAY_IMPORT = {
    **{helper: set() for helper in HELPERS},
    "cells": set(),
    "envs": set(),
    "metrics": set(),
    "checkpoints": set(),
    "tracking": set(),
    "video": set(),
    "testing": set(),
    "plotting": {"cells"},
    "memory": {"cells"},
    "policies": {"memory", "cells"},
    "algorithms": {"policies", "memory", "cells"},
    "callbacks": {"checkpoints", "metrics", "tracking", "plotting", "video"},
    "benchmarks": {
        "policies",
        "algorithms",
        "callbacks",
        "memory",
        "checkpoints",
        "cells",
        "envs",
        "plotting",
        "export",
    },
    "export": {"policies", "algorithms", "callbacks", "memory", "checkpoints", "cells"},
    "hub": {"policies", "algorithms", "callbacks", "memory", "checkpoints", "cells", "export", "video"},
    "zoo": {"algorithms", "policies", "callbacks"},
    "rllib": {"policies", "algorithms", "callbacks", "memory", "checkpoints"},
    "tune": {"policies", "algorithms", "callbacks", "memory", "checkpoints"},
    "finrl": {"policies", "algorithms", "callbacks", "memory", "checkpoints", "plotting"},
}
MAY_IMPORT_EVERYTHING = {"__init__", "__main__", "cli"}
# `velora_sb3.metrics.RecordMetrics` is looked up in callbacks when somebody asks for it.
EXCEPTIONS = {("metrics/__init__.py", "callbacks")}

# Folders of callbacks stand beside each other: each may import itself, these, and the files in callbacks/ none.
SHARED_BY_CALLBACKS = {"base"}

MOST_ENTRIES = 20
OPTIONAL = ["wandb", "comet_ml", "matplotlib", "moviepy", "ray", "finrl", "rl_zoo3", "IPython"]
OPTIONAL += ["onnx", "onnxruntime", "huggingface_hub", "numba", "triton"]

FILES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted({path.parent for path in FILES})


def name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def module_of(path: Path) -> str:
    parts = [ROOT, *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and module of velora_sb3 for each import in a file, also within functions and for types alone."""
    package = module_of(path).split(".") if path.stem == "__init__" else module_of(path).split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            named = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in named:
            while module and module not in MODULES:
                module = module.rpartition(".")[0]
            if module:
                yield node.lineno, module


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ROOT


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_follow_the_layers(path):
    part = name(path).partition("/")[0].removesuffix(".py")
    if part in MAY_IMPORT_EVERYTHING:
        return
    assert part in MAY_IMPORT, f"say in {Path(__file__).name} what {part} may import"
    allowed = {part} | MAY_IMPORT[part] | HELPERS | {to for of, to in EXCEPTIONS if of == name(path)}
    wrong = [f"line {line}: {module}" for line, module in imports(path) if part_of(module) not in allowed]
    assert not wrong


@pytest.mark.parametrize("path", [path for path in FILES if name(path).startswith("callbacks/")], ids=name)
def test_folders_of_callbacks_do_not_import_one_another(path):
    if path == PACKAGE / "callbacks" / "__init__.py":
        return
    mine = module_of(path.parent / "__init__.py")
    allowed = {mine, *(f"{ROOT}.callbacks.{folder}" for folder in SHARED_BY_CALLBACKS)}
    if path.parent == PACKAGE / "callbacks":
        wrong = [module for _, module in imports(path) if MODULES[module].parent.parent == path.parent]
        wrong = [module for module in wrong if module.rpartition(".")[0] not in allowed]
    else:
        ours = [module for _, module in imports(path) if part_of(module) == "callbacks"]
        wrong = [module for module in ours if module not in allowed and module.rpartition(".")[0] not in allowed]
    assert not wrong


def test_imports_are_seen():
    seen = {part_of(module) for _, module in imports(PACKAGE / "policies" / "recurrent_actor_critic.py")}
    assert seen == {"_validation", "cells", "memory", "policies"}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """A way around for each module that can be reached from itself."""
    found = []
    for start in graph:
        ways = [[start]]
        seen = set()
        while ways:
            way = ways.pop(0)
            for module in graph[way[-1]] - seen:
                if module == start:
                    found.append([*way, start])
                    ways.clear()
                    break
                seen.add(module)
                ways.append([*way, module])
    return found


def test_no_module_imports_itself_by_a_detour():
    graph = {module: {to for _, to in imports(path)} - {module} for module, path in MODULES.items()}
    assert circles(graph) == []


def test_circles_are_seen():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c", "b"], ["c", "b", "c"]]


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_no_folder_has_grown_past_what_one_sees_at_once(folder):
    entries = [entry.name for entry in folder.iterdir() if entry.name not in ("__pycache__", "py.typed")]
    if folder == PACKAGE:
        entries = [entry for entry in entries if not entry.startswith("_")]
    assert len(entries) <= MOST_ENTRIES, f"{len(entries)} entries in {name(folder)}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_only_one_module_renames_files_into_place(path):
    if path.name == "_atomic.py":
        return
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    renames = []
    for call in calls:
        if not isinstance(call.func, ast.Attribute):
            continue
        of_os = isinstance(call.func.value, ast.Name) and call.func.value.id in ("os", "shutil")
        one_argument = len(call.args) == 1 and not call.keywords  # str.replace takes two, DataFrame.rename a keyword
        if (call.func.attr in ("replace", "rename") and (of_os or one_argument)) or (
            of_os and call.func.attr in ("renames", "move")
        ):
            renames.append(f"line {call.lineno}: {ast.unparse(call)}")
    assert not renames


def test_contributing_names_every_folder():
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text()
    missing = [name(folder) for folder in FOLDERS if folder != PACKAGE and f"`velora_sb3/{name(folder)}/`" not in text]
    assert not missing


def test_importing_the_package_imports_nothing_optional():
    parts = "velora_sb3, velora_sb3.callbacks, velora_sb3.finrl, velora_sb3.hub, velora_sb3.cli"
    program = f"import sys, {parts}; print([name for name in {OPTIONAL} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
