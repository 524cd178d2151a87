"""``learn`` in a trial of Ray Tune, which resumes the trial if it was paused, moved or lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from velora_sb3._optional import require
from velora_sb3.checkpoints import resume_training
from velora_sb3.checkpoints.format.reading import open_checkpoint
from velora_sb3.checkpoints.state.callbacks import Transient, as_callback, walk
from velora_sb3.checkpoints.state.model import described_arguments
from velora_sb3.tune.report import CHECKPOINT, TuneReport

# Settings that SB3 reads anew in every update, so that a running model can change them.
CHANGEABLE = (
    "learning_rate", "gamma", "ent_coef", "gae_lambda", "clip_range", "clip_range_vf", "vf_coef", "max_grad_norm",
    "n_epochs", "batch_size", "target_kl", "tau", "gradient_steps",
)  # fmt: skip
# Settings of a program, and those to which SB3 adds.
NOT_COMPARED = ("seed", "verbose", "tensorboard_log", "action_noise", "replay_buffer_kwargs")


def learn(
    model: BaseAlgorithm,
    total_timesteps: int,
    callback: MaybeCallback = None,
    *,
    trusted: Iterable[type | str] = (),
    **learn_arguments: Any,
) -> BaseAlgorithm:
    """``model.learn`` in a trial of Ray Tune, which resumes the trial to the last bit where it has a checkpoint.

    A trial has one after it was paused, lost its node, or took the place of another one in population-based training.
    Settings of ``model`` that differ from the checkpoint's then are those that were perturbed. They are applied to the
    resumed model if SB3 reads them in every update: learning rate, gamma, entropy coefficient, GAE's lambda, clip
    ranges, coefficients of losses, batch size, epochs and tau. Other differences raise, except for the action noise and
    ``replay_buffer_kwargs``, which stay the checkpoint's.

    Args:
        model: A new model, made with the trial's settings.
        total_timesteps: Timesteps of the whole trial.
        callback: The callbacks, with a :class:`TuneReport` among them.
        trusted: Further classes that checkpoints may use, as in ``load_checkpoint``.
        **learn_arguments: Further arguments of ``model.learn``.

    Returns:
        The trained model: ``model``, or the resumed one.

    Raises:
        ImportError: If Ray is not installed.
        ValueError: If there is no ``TuneReport``, or a setting changed that a running model cannot change.
    """
    require("ray", "velora_sb3.tune.learn", "ray")
    from ray import tune

    report = next((one for one in walk(as_callback(callback)) if isinstance(one, TuneReport)), None)
    if report is None:
        raise ValueError("learn needs a TuneReport among its callbacks: callback=[EvalCallback(...), TuneReport()]")
    saved = tune.get_checkpoint()
    if saved is None:
        return model.learn(total_timesteps, callback=callback, **learn_arguments)
    env = model.get_env()
    while isinstance(env, VecNormalize):  # its statistics are the checkpoint's
        env = env.venv
    assert env is not None
    with saved.as_directory() as directory:
        path = Path(directory, CHECKPOINT)
        objects = {name: vars(model)[name] for name in report.custom_objects if name in vars(model)}
        changed = changed_settings(model, path)
        total = max(total_timesteps, open_checkpoint(path).manifest.timesteps)  # the last rollout may exceed it
        return resume_changed(
            path, env, callback, changed, objects, total_timesteps=total, device=model.device, trusted=trusted,
            **learn_arguments,
        )  # fmt: skip


def changed_settings(model: BaseAlgorithm, path: Path) -> dict[str, Any]:
    """The settings of a new model that differ from a checkpoint's; raises if a running model cannot change one."""
    saved = open_checkpoint(path).state["arguments"]
    changed: dict[str, Any] = {}
    fixed: list[str] = []
    for name, (value, described) in described_arguments(model).items():
        if name not in saved or saved[name] == described or name in NOT_COMPARED:
            continue
        changed[name] = value
        if name == "policy_kwargs":
            keys = sorted({*saved[name], *described})
            differing = [key for key in keys if saved[name].get(key) != described.get(key)]
            fixed += [f"{name}[{key!r}]{_change(saved[name].get(key), described.get(key))}" for key in differing]
        elif not can_change(name, saved[name], value):
            fixed.append(f"{name}{_change(saved[name], described)}")
    if fixed:
        raise ValueError(
            f"a running model cannot change {', '.join(fixed)}: perturb only {', '.join(CHANGEABLE)}, and leave the "
            "others out of hyperparam_mutations"
        )
    return changed


def can_change(name: str, *values: Any) -> bool:
    """Whether a running model can change a setting from one of some values to another."""
    return name in CHANGEABLE and not (name == "ent_coef" and any(isinstance(value, str) for value in values))


def _change(before: Any, after: Any) -> str:
    """From which value to which, where both are plain."""
    return "" if isinstance(before, dict | list) or isinstance(after, dict | list) else f" {before!r} to {after!r}"


def resume_changed(
    path: Path,
    env: VecEnv,
    callback: MaybeCallback,
    changed: Mapping[str, Any],
    custom_objects: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> BaseAlgorithm:
    """``resume_training`` with some settings changed."""
    callbacks = [as_callback(callback)]
    if isinstance(changed.get("ent_coef"), int | float):
        callbacks.append(FixedEntropy(float(changed["ent_coef"])))
    objects = {**(custom_objects or {}), **changed}
    return resume_training(path, env, callbacks, custom_objects=objects, **arguments)


class FixedEntropy(Transient):
    """Sets the entropy coefficient that SAC and its kin keep as a tensor, which a checkpoint stores as a parameter."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def _on_training_start(self) -> None:
        tensor = getattr(self.model, "ent_coef_tensor", None)
        if tensor is not None:
            tensor.fill_(self.value)

    def _on_step(self) -> bool:
        return True
