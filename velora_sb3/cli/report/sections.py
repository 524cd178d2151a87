"""The sections of a report on a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from stable_baselines3.common.base_class import BaseAlgorithm

from velora_sb3._optional import versions
from velora_sb3._signals import unmasked_signals
from velora_sb3.cells import LTCCell
from velora_sb3.cells.wired_cells import WiredCell
from velora_sb3.cli.errors import UserError, reason
from velora_sb3.cli.experiment.config import CONFIG_FILE, RunConfig
from velora_sb3.cli.experiment.directory import read_result
from velora_sb3.cli.experiment.environments import import_packages
from velora_sb3.cli.report.episodes import Played, play
from velora_sb3.cli.report.page import Page
from velora_sb3.cli.saved_model import SavedModel, find_config, find_model
from velora_sb3.plotting import action_histogram, hidden_state_trace, learning_curve, time_constants, wiring_graph
from velora_sb3.plotting.acting_cell import find_cell
from velora_sb3.video.reader import still_frames

LARGEST_VIDEO = 8 * 2**20  # bytes; mail servers take pages of about twice that
STILLS = 12
MOST_ROWS = 40


def write_page(directory: Path, n_episodes: int, best: bool = False, packages: Sequence[str] = ()) -> Page:
    """Build the page of a run directory, with its last or its best model. It names whatever fails."""
    directory = directory.resolve()
    config, no_config = _attempt(lambda: _config(directory), directory)
    model: BaseAlgorithm | None = None
    saved: SavedModel | None = None
    no_model: str | None = "the model could not be loaded without a configuration"
    played, not_played = None, None
    if config is not None:
        saved, no_model = _attempt(lambda: find_model(directory, best), directory)
    if config is not None and saved is not None:
        model, no_model = _attempt(lambda: _load(saved, config, packages), directory)
        if model is not None:
            played, not_played = _attempt(lambda: play(model, saved, config, n_episodes))
    title = f"{config.algo} on {config.env}" if config is not None else directory.name
    page = Page(title, f"Run directory {directory.name}")
    episodes, no_episodes = _attempt(lambda: _read_csv(directory, "episodes.csv", ("timesteps", "return")))
    columns = ("timesteps", "mean_return", "std_return")
    evaluations, no_evaluations = _attempt(lambda: _read_csv(directory, "evaluations.csv", columns))
    page.facts = _facts(config, model, played, episodes, saved, None if best else read_result(directory))

    page.section("Video")
    _guarded(page, "the video", lambda: _video(page, directory))
    page.section("Learning")
    if episodes is None:
        page.lacks(str(no_episodes))
    if episodes is not None or evaluations is not None:
        _guarded(page, "the learning curve", lambda: _curve(page, episodes, evaluations))
    page.section("Evaluations")
    if no_model:
        page.lacks(f"no episodes and no network can be shown: {no_model}")
    if not_played:
        page.lacks(not_played)
    if played is not None:
        _returns(page, played, saved, model)
    if evaluations is None:
        none_wanted = config is not None and config.eval_freq == 0
        (page.text if none_wanted else page.lacks)(
            "There were no evaluations during training." if none_wanted else str(no_evaluations)
        )
    else:
        _guarded(page, "the evaluations", lambda: _evaluations(page, evaluations))
    if played is not None and model is not None:
        page.section("Actions")
        _guarded(page, "the actions", lambda: _actions(page, played, model))
        _inside(page, played, model)
    page.section("Configuration")
    if config is None:
        page.lacks(str(no_config))
    else:
        page.table([(name, _plain(value)) for name, value in asdict(config).items() if name != "versions"])
        page.section("Versions")
        _versions(page, config)
    page.section("Files")
    sizes = [(path, path.stat().st_size) for path in sorted(directory.rglob("*")) if path.is_file()]
    sizes = [(path, size) for path, size in sizes if path.suffix != ".html" and not path.name.startswith(".")]
    if len(sizes) > MOST_ROWS:
        page.text(f"The first {MOST_ROWS} of {len(sizes)} files:")
        sizes = sizes[:MOST_ROWS]
    page.table([(str(path.relative_to(directory)), f"{size:,} bytes") for path, size in sizes], numbers=True)
    return page


def _attempt(build: Any, directory: Path | None = None) -> tuple[Any, str | None]:
    """A result, or one line why there is none: a file of a run can be broken in any way.

    The line has the directory's name for its path: readers of the page need not know that.
    """
    try:
        with unmasked_signals():
            return build(), None
    except Exception as error:
        name = "" if type(error).__name__ in ("UserError", "FileNotFoundError") else f"{type(error).__name__}: "
        message = " ".join(reason(error).split())
        return None, name + (message if directory is None else message.replace(str(directory), directory.name))


def _guarded(page: Page, what: str, build: Any) -> None:
    _, problem = _attempt(build)
    if problem is not None:
        page.lacks(f"{what} cannot be shown: {problem}")


def _config(directory: Path) -> RunConfig:
    config = find_config(directory)
    if config is None:
        raise FileNotFoundError(f"{CONFIG_FILE} is missing")
    return config


def _load(saved: SavedModel, config: RunConfig, packages: Sequence[str]) -> BaseAlgorithm:
    import_packages(packages or config.gym_packages)
    return saved.load(config.algo, "cpu")


def _read_csv(directory: Path, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    if not (directory / name).is_file():
        raise FileNotFoundError(f"{name} is missing")
    try:
        table = pd.read_csv(directory / name)
    except ValueError as error:
        raise UserError(f"{name} cannot be read: {reason(error)}") from error
    lacking = [column for column in columns if column not in table]
    if lacking:
        raise UserError(f"{name} has no column {', '.join(lacking)}")
    for column in columns:
        table[column] = pd.to_numeric(table[column], errors="coerce")
    return table


def _facts(
    config: RunConfig | None,
    model: BaseAlgorithm | None,
    played: Played | None,
    episodes: pd.DataFrame | None,
    saved: SavedModel | None,
    result: dict[str, Any] | None,
) -> list[tuple[str, str, str]]:
    facts = []
    returns, source = _evaluation(result), "evaluation at the end of training"
    if not returns and played is not None:
        returns, source = played.returns, "run for this page"
    if returns:
        seeded = "" if saved is None else f", seed {saved.evaluation_seed}"
        episodes_run = f"{len(returns)} episode{'' if len(returns) == 1 else 's'}"
        note = f"± {np.std(returns):,.1f} over {episodes_run}{seeded}: {source}"
        facts.append(("Return", f"{np.mean(returns):,.1f}", note))
    if model is not None:
        trained = "" if episodes is None else f"{len(episodes):,} episodes"
        facts.append(("Timesteps", f"{model.num_timesteps:,}", trained))
        size = sum(parameter.numel() for parameter in model.policy.parameters())
        targets = (
            ", with target networks" if any("target" in name for name, _ in model.policy.named_parameters()) else ""
        )
        facts.append(("Parameters", f"{size:,}", f"of {type(model.policy).__name__}{targets}"))
    if episodes is not None and "seconds" in episodes and len(episodes):
        seconds = pd.to_numeric(episodes["seconds"], errors="coerce").max()
        if np.isfinite(seconds):
            facts.append(("Time", f"{seconds:,.0f} s", "until the end of the last episode"))
    if config is not None:
        facts.append(("Seed", str(config.seed), ""))
    return facts


def _video(page: Page, directory: Path) -> None:
    path = directory / "video.mp4"
    if not path.is_file():
        page.lacks("video.mp4 is missing")
    elif path.stat().st_size <= LARGEST_VIDEO:
        page.video(path.read_bytes(), "An episode of the trained model.")
    else:
        size = f"{path.stat().st_size / 2**20:.1f} MiB"
        page.stills(
            list(still_frames(path, STILLS)), f"Frames of video.mp4, which is too large for this page ({size})."
        )


def _curve(page: Page, episodes: pd.DataFrame | None, evaluations: pd.DataFrame | None) -> None:
    shown = pd.DataFrame({"timesteps": [], "return": []}) if episodes is None else episodes
    page.plot(learning_curve(shown, evaluations), "Returns of training episodes and evaluations.")


def _evaluation(result: dict[str, Any] | None) -> list[float]:
    """The returns of the evaluation at the end of training; empty if there was none."""
    returns = None if result is None else result.get("returns")
    known = isinstance(returns, list) and all(isinstance(value, int | float) for value in returns)
    return [float(value) for value in returns] if known and returns is not None else []


def _returns(page: Page, played: Played, saved: SavedModel | None, model: BaseAlgorithm | None) -> None:
    rows = [
        (str(number), f"{value:,.2f}", f"{length:,}" + ("" if trace.ended else ", unfinished"))
        for number, (trace, value, length) in enumerate(
            zip(played.traces, played.returns, played.lengths, strict=True), start=1
        )
    ]
    if saved is not None and model is not None:
        page.text(
            f"{saved.path.name} of step {model.num_timesteps:,}, deterministic, in {len(rows)} episodes run for this "
            f"page: the first ones from seed {saved.evaluation_seed}, as in the evaluation at the end of training."
        )
    page.table(rows, ("episode", "return", "steps"), numbers=True)
    if played.note:
        page.lacks(played.note)


def _evaluations(page: Page, evaluations: pd.DataFrame) -> None:
    if not len(evaluations):
        page.text("There were no evaluations during training.")
        return
    last = evaluations.tail(MOST_ROWS)
    shown = f"; the last {MOST_ROWS}:" if len(last) < len(evaluations) else "."
    page.text(f"During training: {len(evaluations)} evaluations{shown}")
    names = [str(name) for name in last.columns]
    rows = [[_number(value) for value in row] for row in last.itertuples(index=False)]
    page.table(rows, [name.replace("_", " ") for name in names], numbers=True)


def _actions(page: Page, played: Played, model: BaseAlgorithm) -> None:
    actions = np.concatenate([trace.actions for trace in played.traces])
    page.plot(action_histogram(actions, model.action_space), f"The actions of these episodes: {len(actions):,} steps.")


def _inside(page: Page, played: Played, model: BaseAlgorithm) -> None:
    """The wiring, hidden state and time constants of a liquid or recurrent network."""
    cell = find_cell(model)
    trace = played.shown
    if cell is not None and any(isinstance(part, WiredCell | LTCCell) for part in cell.modules()):
        page.section("Wiring")
        wiring = "The network that chooses the actions, with its learned synapses. Signals flow from left to right."
        _guarded(page, "the wiring", lambda: page.plot(wiring_graph(model), wiring))
    if trace.states.shape[1]:
        page.section("Hidden state")
        caption = (
            "The units over the first episode; similar ones are adjacent."
            if trace.carried
            else "The units over the first episode. This policy has no memory: they restart at each step."
        )
        _guarded(page, "the hidden state", lambda: page.plot(hidden_state_trace(trace), caption))
    if trace.time_constants.size:
        page.section("Time constants")
        caption = (
            "Time constants over the first episode: the effective time of a CfC's gate, an LRC's 1 / r, an LTC's c / B."
        )
        _guarded(page, "the time constants", lambda: page.plot(time_constants(trace), caption))


def _versions(page: Page, config: RunConfig) -> None:
    here = versions()
    names = list(dict.fromkeys([*config.versions, *here]))
    then = {name: str(config.versions.get(name, "unknown")) for name in names}
    rows = [
        (name, then[name], "the same" if here.get(name) == then[name] else here.get(name, "unknown")) for name in names
    ]
    page.table(rows, ("package", "training", "this page"))


def _plain(value: Any) -> str:
    if value is None or value in ({}, []):
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(value: Any) -> str:
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    return f"{value:,.2f}" if isinstance(value, float) else str(value)
