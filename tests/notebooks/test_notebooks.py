"""The notebooks: whole in the repository, and they run; the latter where nbclient is: ``tox -e extras``."""

import ast
import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SHORT = {
    "callbacks": {"STEPS": 420, "EVERY": 1},
    "finance": {"STEPS": 300, "EVERY": 150, "SEEDS": 1},
    "irregular_time": {"STEPS": 150, "EPISODES": 8, "UPDATES": 5},
    "memory": {"STEPS": 220, "EPISODES": 1, "FITTED": 1},
    "quickstart": {"STEPS": 300, "EPISODES": 1},
}
# A cell with one of these shows something.
PICTURES = ("plt.subplots(", "Video(", "learning_curve(", "wiring_graph(", "hidden_state_trace(")
SILENT = ("os.chdir(", "torch.set_num_threads(")  # expressions without a value
MOST_BYTES = 300_000

needs_nbclient = pytest.mark.skipif(
    find_spec("nbclient") is None or find_spec("ipykernel") is None,
    reason="nbclient and ipykernel are not installed; tox -e extras has them",
)


def name(path: Path) -> str:
    return path.stem


def parameters(cells: list[dict]) -> dict:
    """The first cell of code, whose numbers say how long the notebook takes."""
    return next(cell for cell in cells if cell["cell_type"] == "code")


def test_there_is_a_short_form_of_each():
    assert {path.stem for path in NOTEBOOKS} == set(SHORT)


def code(path: Path) -> list[dict]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def kinds(cell: dict) -> set[str]:
    """Of what a cell has shown."""
    return {kind for output in cell["outputs"] for kind in output.get("data", {"text/plain": None})}


def shows(source: str) -> bool:
    """Whether something comes out of a cell."""
    last = source.splitlines()[-1]
    is_value = isinstance(ast.parse(source.replace("%matplotlib inline", "")).body[-1], ast.Expr)
    return "print(" in source or (is_value and not last.endswith(";") and not last.startswith(SILENT))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_it_was_run_from_the_first_cell_to_the_last(path):
    """``python docs/_tools/run_notebooks.py`` writes the outputs, which the site shows."""
    cells = code(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert path.stat().st_size < MOST_BYTES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_every_cell_that_shows_something_has_its_output(path):
    for cell in code(path):
        source = "".join(cell["source"])
        if any(call in source for call in PICTURES):
            assert "image/png" in kinds(cell), f"no picture of\n{source}"
        assert bool(cell["outputs"]) or not shows(source), f"no output of\n{source}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_no_output_is_a_warning_or_names_a_path_of_a_machine(path):
    for cell in code(path):
        assert all(output["output_type"] != "error" and output.get("name") != "stderr" for output in cell["outputs"])
        assert not kinds(cell) & {"video/mp4", "application/javascript"}
        for output in cell["outputs"]:
            shown = {**output.get("data", {}), "image/png": "", "text": output.get("text", "")}
            assert not re.search(r"warning|traceback|/tmp/|/home/|/root/|/Users/|data:video", json.dumps(shown), re.I)
        assert all(not output.get("metadata") for output in cell["outputs"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_its_differences_can_be_read(path):
    """Keys in order, cells by names that stay, one line of the file for a line of text, nothing of the machine."""
    text = path.read_text()
    notebook = json.loads(text)
    assert text == json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    assert notebook["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_every_cell_of_code_is_introduced(path):
    """A title first, then text before code; no cell is empty."""
    cells = json.loads(path.read_text())["cells"]
    assert cells[0]["source"][0].startswith("# ")
    assert all("".join(cell["source"]).strip() for cell in cells)
    texts = sum(cell["cell_type"] == "markdown" for cell in cells)
    assert texts >= (len(cells) - texts) / 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_its_parameters_are_those_of_the_short_form(path):
    cell = parameters(json.loads(path.read_text())["cells"])
    assert cell["metadata"] == {"tags": ["parameters"]}
    assigned = {node.targets[0].id: node.value.value for node in ast.parse("".join(cell["source"])).body}
    assert set(assigned) == set(SHORT[path.stem])
    assert all(assigned[key] > short for key, short in SHORT[path.stem].items())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_pages_that_it_names_exist(path):
    root = FOLDER.parent
    for page in re.findall(r"`((?:docs/)[\w/.-]+|\w+\.ipynb)`", path.read_text()):
        assert (root / page).exists() or (FOLDER / page).exists(), page


@needs_nbclient
@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_it_runs(path, tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    for variable in ("TMPDIR", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(variable, str(tmp_path))  # nothing is written elsewhere
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    parameters(notebook.cells)["source"] = "\n".join(f"{key} = {value}" for key, value in SHORT[path.stem].items())

    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()

    for cell in notebook.cells:
        if cell["cell_type"] != "code":
            continue
        shown = kinds(cell)
        said = "".join(output["text"] for output in cell["outputs"] if output.get("name") == "stderr")
        assert not re.search("warn", said, re.IGNORECASE), said
        if any(call in cell["source"] for call in PICTURES):
            assert shown & {"image/png", "text/html"}, f"no picture came out of\n{cell['source']}"
