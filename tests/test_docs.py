"""The documentation does what it says: its Python runs, its commands parse, its links lead somewhere."""

import ast
import configparser
import dataclasses
import importlib
import inspect
import re
import shlex
from pathlib import Path

import pytest

from velora_sb3._optional import missing_modules

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DEMO = (
    'python -m pip install -c constraints.txt ".[video,plot]"'
    " && velora-sb3 train --algo ddpg --env Pendulum-v1 --steps 20000"
)
TEST = "python -m pip install tox && tox"

FENCE = re.compile(r"^(?:<!--\s*not run:(?P<reason>.*?)-->\s*\n+)?```(?P<language>\w*).*\n(?P<body>(?s:.*?))^```", re.M)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[re.Match[str]]:
    return [block for block in FENCE.finditer(page.read_text()) if block["language"] in languages]


def shell_lines(page: Path) -> list[str]:
    return [line for block in blocks(page, "bash", "console", "sh", "shell") for line in block["body"].splitlines()]


def velora_commands(page: Path) -> list[str]:
    """From shell blocks, also after ``&&``, and from inline code."""
    parts = [part.strip().removeprefix("$ ") for line in shell_lines(page) for part in line.split("&&")]
    inline = re.findall(r"(?<!`)`(velora-sb3 [^`\n]+)`", FENCE.sub("", page.read_text()))
    return [part for part in parts if part.startswith("velora-sb3 ")] + [
        command for command in inline if " -" in command or len(command.split()) > 2
    ]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text()
    namespace = {"__name__": "__main__"}
    for block in blocks(page, "python"):
        if block["reason"] is not None:
            assert block["reason"].strip(), f"{name(page)}: say why the block is not run"
            continue
        lines_before = text[: block.start("body")].count("\n")
        exec(compile("\n" * lines_before + block["body"], page, "exec"), namespace)


@pytest.mark.slow
@pytest.mark.parametrize(("flipped", "low", "high"), [(0.1, 400, 500), (0.0, 0, 100)])
@pytest.mark.parametrize("seed", range(4))
def test_recorded_episodes_are_imitated(seed, flipped, low, high):
    from stable_baselines3.common.evaluation import evaluate_policy

    from velora_sb3 import RecurrentPPO

    section = (ROOT / "docs" / "memory.md").read_text().partition("## Start from demonstrations")[2]
    record, imitate = [block["body"] for block in FENCE.finditer(section)][:2]
    namespace = {"RecurrentPPO": RecurrentPPO}
    for code, changes in (
        (record, {"range(2)": "range(10)", "< 0.9": f"< {1 - flipped}"}),
        (imitate, {"range(20)": "range(300)", "seed=0": f"seed={seed}", "model.learn(64)": ""}),
    ):
        for shown, used in changes.items():
            assert code.count(shown) == 1
            code = code.replace(shown, used)
        exec(code, namespace)
    model = namespace["model"]
    mean, _ = evaluate_policy(model, model.get_env(), n_eval_episodes=20)
    assert low <= mean <= high


@pytest.mark.parametrize("page", [page for page in PAGES if velora_commands(page)], ids=name)
def test_commands_parse(page):
    from velora_sb3.cli.command_line import build_parser

    for command in velora_commands(page):
        build_parser().parse_args(shlex.split(command, comments=True)[1:])


@pytest.mark.parametrize("command", [DEMO, TEST])
def test_readme_shows_the_two_commands(command):
    assert command in shell_lines(PAGES[0])


def test_ci_runs_the_readmes_test_command():
    assert TEST in (ROOT / ".ci" / "run").read_text()


def test_tox_runs_everything_by_default():
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    assert set(re.split(r"[\s,]+", tox["tox"]["env_list"].strip())) >= {"tests", "lint", "types", "docs"}


def test_readme_links_lead_to_files():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", PAGES[0].read_text())
    missing = [link for link in links if not (ROOT / link).exists()]
    assert not missing


def test_settings_on_the_policies_page_are_the_extractors():
    from velora_sb3.memory import ExtractorConfig

    section = (ROOT / "docs" / "policies.md").read_text().partition("## Settings")[2].partition("\n## ")[0]
    documented = dict(re.findall(r"^\| `(\w+)` \| `(.+?)` \|", section, re.M))
    defaults = {field.name: field.default for field in dataclasses.fields(ExtractorConfig)}
    assert documented == {argument: repr(default).replace("'", '"') for argument, default in defaults.items()}


@pytest.mark.parametrize(("algorithm", "column"), [("SAC", 1), ("TQC", 1), ("DQN", 2), ("QRDQN", 2)])
def test_defaults_on_the_memory_page_are_the_algorithms(algorithm, column):
    import velora_sb3

    section = (ROOT / "docs" / "memory.md").read_text().partition("## Recurrent off-policy")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (\S+) \|", section, re.M)
    documented = {row[0]: ast.literal_eval(row[column]) for row in rows}
    signature = inspect.signature(getattr(velora_sb3, f"Recurrent{algorithm}")).parameters
    assert {"sequence_length", "burn_in_length", "stored_state", "batch_size", "learning_rate"} <= set(documented)
    assert documented == {name: signature[name].default for name in documented}


@pytest.mark.parametrize(
    ("page", "callback"),
    [
        ("early-stopping", "EarlyStopping"),
        ("save-checkpoints", "SaveCheckpoints"),
        ("record-videos", "RecordVideos"),
        ("record-metrics", "RecordMetrics"),
        ("comet", "CometAnalytics"),
        ("wandb", "WandbAnalytics"),
        ("plots-and-monitors", "PerformancePlots"),
        ("plots-and-monitors", "LiveMonitor"),
        ("plots-and-monitors", "ActionAnalysis"),
        ("plots-and-monitors", "LearningRateScheduler"),
        ("plots-and-monitors", "ResourceMonitor"),
        ("collection", "CallbackCollection"),
        ("monitors", "StopOnPlateau"),
    ],
)
def test_arguments_on_the_callbacks_pages_are_the_constructors(page, callback):
    import velora_sb3.callbacks

    text = (ROOT / "docs" / "callbacks" / f"{page}.md").read_text()
    text = text.partition(f"## {callback}\n")[2] or text  # a section of its own, or the whole page
    table = text.partition("| argument | default | meaning |")[2].partition("\n\n")[0]
    documented = {row[0]: row[1].strip(" `") for row in re.findall(r"^\| `(\w+)` \|(.*?)\|", table, re.M)}
    parameters = inspect.signature(getattr(velora_sb3.callbacks, callback)).parameters.values()
    expected = {p.name: "" if p.default is p.empty else repr(p.default).replace("'", '"') for p in parameters}
    assert documented == expected


def test_benchmarks_that_pages_name_can_be_started():
    modules = {
        module for page in PAGES for module in re.findall(r"python -m (tests\.benchmarks\.\w+)", page.read_text())
    }
    assert modules == {f"tests.benchmarks.{path.stem}" for path in (ROOT / "tests" / "benchmarks").glob("[!_]*.py")}
    for module in modules:
        if module != "tests.benchmarks.rllib" or not missing_modules("rllib"):
            importlib.import_module(module)
