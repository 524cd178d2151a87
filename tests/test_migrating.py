"""The migration tables: every row is complete, and the tests that it names exist."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "migrating.md"
HEAD = ["in the guide", "what it does", "here", "test"]
GUIDES = {"Velora, the tutorial", "Velora, the reference", "Dream Trainer", "RLlib", "FinRL"}


def tables() -> dict[str, list[list[str]]]:
    """The rows below each heading, each as its cells."""
    found: dict[str, list[list[str]]] = {}
    guide = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            guide = line.removeprefix("## ")
        elif line.startswith("|"):
            found.setdefault(guide, []).append([cell.strip() for cell in line.strip("|").split("|")])
    return found


ROWS = [(guide, row) for guide, rows in tables().items() for row in rows[2:]]
NAMED = [(row[0], name) for _, row in ROWS for name in re.findall(r"`([\w/]+\.py::\w+)`", row[-1])]


def test_every_guide_has_its_table():
    assert set(tables()) == GUIDES
    assert all(rows[0] == HEAD for rows in tables().values())


@pytest.mark.parametrize("guide", sorted(GUIDES))
def test_no_cell_is_empty(guide):
    wrong = [row[0] for of, row in ROWS if of == guide and (len(row) != len(HEAD) or {"", "?"} & set(row))]
    assert not wrong, f"incomplete rows: {wrong}"


def test_every_row_names_a_test():
    assert not [row[0] for _, row in ROWS if row[-1] != "?" and not re.search(r"`[\w/]+\.py::\w+`", row[-1])]


@pytest.mark.parametrize("name", sorted({name for _, name in NAMED}))
def test_its_tests_exist(name):
    path, _, test = name.partition("::")
    assert (TESTS / path).is_file(), path
    functions = [node.name for node in ast.parse((TESTS / path).read_text()).body if isinstance(node, ast.FunctionDef)]
    assert test in functions, f"{path} has no {test}"
