"""``sweep.yaml``: what to search, and how."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from velora_sb3.cli.algorithms import find_algorithm
from velora_sb3.cli.errors import UserError, unknown
from velora_sb3.cli.experiment.build_model import build_model
from velora_sb3.cli.experiment.config import RunConfig
from velora_sb3.cli.experiment.defaults import default_period, defaults_for
from velora_sb3.cli.experiment.environments import import_packages
from velora_sb3.cli.options import check_values, option
from velora_sb3.cli.structured_text import SUFFIXES, read_mapping
from velora_sb3.tune.engine import Plan
from velora_sb3.tune.learning import CHANGEABLE, can_change
from velora_sb3.tune.space import Range, parse_space

SCHEDULERS = ("none", "asha", "pbt")
SEARCHERS = ("random", "optuna")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
POLICY_KWARGS = "policy_kwargs."


@dataclass
class SweepFile:
    """The keys of the file: those of a run, as options of ``velora-sb3 train``, and those of the search."""

    algo: str = option("algorithm")
    env: str = option("environment")
    search: dict[str, Any] = option("ranges of hyperparameters, also under policy_kwargs")
    trials: int = option("number of trials", least=1)
    seeds: int = option("seeds of each trial", default=1, least=1)
    scheduler: str = option("stops or perturbs trials", default="none", choices=SCHEDULERS)
    searcher: str = option("samples settings", default="random", choices=SEARCHERS)
    resources: dict[str, Any] = option("cpu and gpu of a trial", default_factory=dict)
    time_limit: float | str | None = option("seconds, or 90m, 2h", default=None)
    steps: int | None = option("timesteps of a trial", default=None, least=1)
    seed: int = option("the first seed", default=0, least=0, below=2**31 - 10_000)
    n_envs: int | None = option("environments of a trial", default=None, least=1)
    policy: str = option("policy", default="LiquidPolicy")
    policy_kwargs: dict[str, Any] = option("fixed arguments of the policy", default_factory=dict)
    hyperparams: dict[str, Any] = option("fixed hyperparameters", default_factory=dict)
    eval_freq: int | None = option("timesteps between evaluations", default=None, least=1)
    device: str = option("device", default="auto")
    threads: int = option("torch threads of a trial", default=1, least=1)
    gym_packages: list[str] = option("packages that register environments", default_factory=list)


@dataclass
class Sweep:
    """A sweep that has been checked.

    Attributes:
        run: What all trials share, with the first seed.
        space: What is drawn.
        file: The keys of the file with their values.
        resources: CPUs and GPUs of a trial.
        time_limit: Seconds, or None.
    """

    run: RunConfig
    space: dict[str, Range]
    file: SweepFile
    resources: dict[str, float]
    time_limit: float | None

    @property
    def seeds(self) -> list[int]:
        """The seeds of each trial."""
        return list(range(self.run.seed, self.run.seed + self.file.seeds))

    def plan(self) -> Plan:
        """What Ray Tune has to run."""
        return Plan(
            space=self.space,
            trials=self.file.trials,
            steps=self.run.steps,
            eval_freq=self.run.eval_freq,
            scheduler=self.file.scheduler,
            searcher=self.file.searcher,
            seed=self.run.seed,
            resources=self.resources,
            time_limit=self.time_limit,
        )

    def settings(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """Drawn values as they stand in the file."""
        return {name: one.value(drawn[name]) for name, one in self.space.items()}

    def config(self, settings: Mapping[str, Any], seed: int | None = None) -> RunConfig:
        """The run with some settings."""
        config = replace(
            self.run,
            seed=self.run.seed if seed is None else seed,
            policy_kwargs=deepcopy(self.run.policy_kwargs),
            hyperparams=deepcopy(self.run.hyperparams),
        )
        for name, value in settings.items():
            below, where = (name, config.hyperparams)
            if name.startswith(POLICY_KWARGS):
                below, where = name.removeprefix(POLICY_KWARGS), config.policy_kwargs
            where[below] = value
        return config


def read_sweep(path: Path) -> Sweep:
    """Read and check a file; raises ``UserError`` with the key and what it may be."""
    if not path.is_file():
        raise UserError(f"no such sweep file: {path}")
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: a sweep file must end in .yaml, .yml or .json")
    values = read_mapping(str(path), "sweep")
    given = SweepFile(**check_values(values, SweepFile, path, "sweep"))
    try:
        return _checked(given)
    except UserError as error:
        keys = "|".join(one.name.replace("_", "-") for one in fields(SweepFile))
        told = re.sub(rf"--({keys})(?![\w-])", lambda found: f"key {found[1].replace('-', '_')}", str(error))
        raise UserError(f"{path}: {told}") from error


def _checked(given: SweepFile) -> Sweep:
    given.algo = find_algorithm(given.algo)[0]
    import_packages(given.gym_packages)
    try:
        space = dict(parse_space(given.search))
    except ValueError as error:
        raise UserError(f"search.{error}") from error
    if not space:
        raise UserError("search is empty: name a hyperparameter, as in learning_rate: {loguniform: [1e-5, 1e-2]}")
    defaults = defaults_for(given.algo, given.env)
    names = {one.name for one in fields(RunConfig)}
    shared = {name: value for name, value in vars(given).items() if name in names and value is not None}
    for name in ("hyperparams", "policy_kwargs"):
        shared[name] = {**defaults[name], **shared[name]}
    run = RunConfig(**{**defaults, **shared, "video": False, "checkpoint_every": 0})
    if given.eval_freq is None:
        run.eval_freq = default_period(run.steps)
    elif run.eval_freq > run.steps:
        raise UserError(f"eval_freq must be at most steps, {run.steps}, got {run.eval_freq}")
    fixed = {**given.hyperparams, **{f"{POLICY_KWARGS}{name}": value for name, value in given.policy_kwargs.items()}}
    for name in space:
        if name in fixed:
            raise UserError(f"{name} is in search and has the fixed value {fixed[name]!r}: remove one of them")
    sweep = Sweep(run, space, given, _resources(given), _seconds(given.time_limit))
    _check_scheduler(sweep)
    _check_values(sweep)
    return sweep


def _check_scheduler(sweep: Sweep) -> None:
    if sweep.file.scheduler == "pbt":
        if not any(can_change(name, *one.values) for name, one in sweep.space.items()):
            raise UserError(
                f"scheduler pbt perturbs running models, and search has none of the settings that they can change: "
                f"choose from {', '.join(CHANGEABLE)}"
            )
        if sweep.file.searcher != "random":
            raise UserError(f"scheduler pbt needs searcher random, got {sweep.file.searcher}")
        if sweep.file.trials < 2:
            raise UserError("scheduler pbt needs a population: trials must be at least 2, got 1")


def _check_values(sweep: Sweep) -> None:
    """Build a model with every choice and both ends of every range."""
    first = {name: one.values[0] for name, one in sweep.space.items()}

    def check(where: str, settings: Mapping[str, Any]) -> None:
        try:
            build_model(sweep.config(settings))
        except UserError as error:
            raise UserError(f"{where}: {error}") from error

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build_model(sweep.config({}))
        try:
            check("search", first)
        except UserError:
            for name, value in first.items():
                check(f"search.{name} {value!r}", {name: value})
            raise  # each may be used, but not all together
        for name, one in sweep.space.items():
            for value in one.values[1:]:
                check(f"search.{name} {value!r}", {**first, name: value})


def _resources(given: SweepFile) -> dict[str, float]:
    resources = {"cpu": given.threads, "gpu": 0, **given.resources}
    for name, value in resources.items():
        if name not in ("cpu", "gpu"):
            raise unknown("key of resources", str(name), ("cpu", "gpu"))
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or (name == "cpu" and not value):
            raise UserError(
                f"resources.{name} must be a number {'above' if name == 'cpu' else 'of at least'} 0, got {value!r}"
            )
    return {name: float(value) for name, value in resources.items()}


def _seconds(limit: float | str | None) -> float | None:
    if limit is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", str(limit))
    if match is None or not float(match[1]):
        raise UserError(f"time_limit must be a number of seconds, or a duration such as 90m, 2h or 1d, got {limit!r}")
    return float(match[1]) * UNITS[match[2] or "s"]
