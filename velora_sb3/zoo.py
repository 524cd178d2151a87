"""RL Zoo with the recurrent algorithms: ``python -m velora_sb3.zoo train``, or ``enjoy``, with RL Zoo's options."""

from __future__ import annotations

import copy
import importlib
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm

from velora_sb3 import algorithms
from velora_sb3._optional import install_line, missing_modules
from velora_sb3.callbacks import RecordVideos, SaveCheckpoints
from velora_sb3.policies.algorithm_check import ALIAS

OFF_POLICY = ("ddpg", "td3", "sac", "tqc", "dqn", "qrdqn")  # they learn from windows of a replay buffer
ALGORITHMS: dict[str, type[BaseAlgorithm]] = {
    **{f"recurrent_{name}": getattr(algorithms, f"Recurrent{name.upper()}") for name in OFF_POLICY},
    "recurrent_ppo": algorithms.RecurrentPPO,
    "recurrent_maskable_ppo": algorithms.RecurrentMaskablePPO,
}


def convert(drawn: dict[str, Any]) -> dict[str, Any]:
    """An algorithm's arguments from the values that a trial drew."""
    rest = dict(drawn)
    return {"gamma": 1 - rest.pop("one_minus_gamma"), "policy_kwargs": {"units": rest.pop("units")}, **rest}


def sample(trial: Any, *_: Any, windows: bool) -> dict[str, Any]:
    """Draw the arguments of an algorithm whose policy has a liquid memory."""
    drawn = {
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 3e-3, log=True),
        "one_minus_gamma": trial.suggest_float("one_minus_gamma", 1e-3, 0.05, log=True),
        "units": trial.suggest_categorical("units", [16, 32, 64, 128]),
    }
    if windows:
        drawn["sequence_length"] = trial.suggest_categorical("sequence_length", [16, 32, 64])
    return convert(drawn)


def in_folder(callbacks: Any, folder: Path, trial: str = "") -> Any:
    """RL Zoo's entry ``callback``, with the files of our callbacks in a folder of the run, or of the trial."""
    from rl_zoo3.utils import get_class_by_name

    placed = []
    for entry in callbacks if isinstance(callbacks, list) else [callbacks]:
        if isinstance(entry, dict) and get_class_by_name(name := next(iter(entry))) in (SaveCheckpoints, RecordVideos):
            arguments = entry[name]
            root = Path(arguments["root"], *folder.parts[-2:]) if "root" in arguments else folder / "checkpoints"
            entry = {name: {**arguments, "root": str(root / trial)}}
        placed.append(entry)
    return placed


def extend() -> None:
    """Add the recurrent algorithms to RL Zoo, and let studies keep ``policy_kwargs`` and callbacks of the YAML file."""
    with warnings.catch_warnings():  # RL Zoo replaces our environments without velocities by its own
        warnings.filterwarnings("ignore", ".*Overriding environment")
        from rl_zoo3 import exp_manager, hyperparams_opt, train

    exp_manager.ALGOS.update(ALGORITHMS)
    samplers, converters = hyperparams_opt.HYPERPARAMS_SAMPLER, hyperparams_opt.HYPERPARAMS_CONVERTER
    samplers.update({name: partial(sample, windows=not name.endswith("ppo")) for name in ALGORITHMS})
    converters.update(dict.fromkeys(ALGORITHMS, convert))

    def keep(given: Any, arguments: dict[str, Any]) -> dict[str, Any]:
        both = [given or {}, arguments.get("policy_kwargs") or {}]
        old, new = (eval(kwargs, vars(exp_manager)) if isinstance(kwargs, str) else kwargs for kwargs in both)
        return {**arguments, "policy_kwargs": {**old, **new}}

    class Manager(exp_manager.ExperimentManager):  # type: ignore[misc]
        def read_hyperparameters(self) -> tuple[dict[str, Any], dict[str, Any]]:
            if self.algo in ALGORITHMS and self.config.endswith(".yml") and not Path(self.config).is_file():
                raise SystemExit(f"no hyperparameters for {self.algo} at {self.config}: pass a file with --conf-file")
            hyperparams, saved = super().read_hyperparameters()
            if self.trial_id is not None:  # its policy_kwargs have replaced the file's
                file = copy.copy(self)
                file.trial_id = None
                given = super(Manager, file).read_hyperparameters()[0].get("policy_kwargs")
                hyperparams, saved = keep(given, hyperparams), keep(given, saved)
            return hyperparams, saved

        def _preprocess_hyperparams(self, hyperparams: dict[str, Any]) -> Any:
            raw = hyperparams.get("callback") or []
            result = super()._preprocess_hyperparams({**hyperparams, "callback": in_folder(raw, Path(self.save_path))})
            self.specified_callbacks = raw  # each trial places its own
            return result

        def hyperparameters_optimization(self) -> None:
            draw, given = samplers[self.algo], self._hyperparams.get("policy_kwargs")
            policy = self._hyperparams.get("policy")
            if self.algo in ALGORITHMS and policy != ALIAS:
                raise SystemExit(f"-optimize of {self.algo} samples settings of {ALIAS}, got the policy {policy}")
            samplers[self.algo] = lambda *arguments: keep(given, draw(*arguments))
            super().hyperparameters_optimization()

        def objective(self, trial: Any) -> float:
            own = copy.copy(self)  # trials may run in parallel
            own.specified_callbacks = in_folder(self.specified_callbacks, Path(self.save_path), f"trial_{trial.number}")
            return float(super(Manager, own).objective(trial))

    train.ExperimentManager = Manager


def main() -> None:
    """Run one of RL Zoo's programs on the arguments of the command line."""
    program = "".join(sys.argv[1:2])
    if program not in ("train", "enjoy"):
        raise SystemExit("usage: python -m velora_sb3.zoo {train,enjoy} ...")
    if missing_modules("zoo"):
        raise SystemExit(f"velora_sb3.zoo needs rl_zoo3: {install_line('zoo')}")
    sys.argv = [f"{sys.argv[0]} {program}", *sys.argv[2:]]
    extend()
    getattr(importlib.import_module(f"rl_zoo3.{program}"), program)()


if __name__ == "__main__":
    main()
