"""The same weights in RLlib and in SB3."""

from __future__ import annotations

import warnings
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.type_aliases import GymEnv

from velora_sb3.algorithms import RecurrentPPO
from velora_sb3.policies import LiquidRecurrentActorCriticPolicy
from velora_sb3.rllib.actor_critic import POLICY_SETTINGS, LiquidRLModule
from velora_sb3.rllib.settings import MAX_SEQ_LEN

OPTIMIZER = {"cell_lr_multiplier", "optimizer_class", "optimizer_kwargs"}  # RLlib has its own
WITHOUT_EFFECT = {"full_std", "lstm_kwargs", "n_lstm_layers", "use_expln"}


def to_sb3(module: LiquidRLModule, env: GymEnv | str, **settings: Any) -> RecurrentPPO:
    """A :class:`velora_sb3.RecurrentPPO` with the weights of an RLModule.

    RLlib rescales the actions of a Box from [-1, 1] to the environment's bounds by default, SB3 clips them. Where the
    bounds are others, and the module was trained so, pass the environment in ``gymnasium.wrappers.RescaleAction``
    with -1 and 1.

    Args:
        module: The module, such as ``algorithm.get_module()``.
        env: The environment, or its id.
        **settings: Further arguments of ``RecurrentPPO``, such as ``learning_rate``.

    Returns:
        The model. Its optimizer is new.

    Raises:
        TypeError: If the module is not a ``LiquidRLModule``.
        ValueError: If the environment's spaces are not those of the module.
    """
    if not isinstance(module, LiquidRLModule):
        raise TypeError(f"module must be a LiquidRLModule, got {type(module).__name__}")
    arguments = {name: module.model_config[name] for name in POLICY_SETTINGS if name in module.model_config}
    model = RecurrentPPO("LiquidPolicy", env, policy_kwargs=arguments, **settings)
    pairs = {
        "observation": (module.observation_space, model.observation_space),
        "action": (module.action_space, model.action_space),
    }
    for kind, (own, other) in pairs.items():
        rescaled = kind == "action" and isinstance(own, spaces.Box) and own.shape == other.shape
        if own != other and not rescaled:
            raise ValueError(
                f"the module's {kind} space is {own}, but the environment's is {other}: they must be equal"
            )
    model.policy.load_state_dict(module.policy.state_dict())
    return model


def from_sb3(model: RecurrentPPO, max_seq_len: int = MAX_SEQ_LEN) -> LiquidRLModule:
    """An RLModule with the weights of a :class:`velora_sb3.RecurrentPPO`.

    SB3 clips the actions of a Box to its bounds; so does RLlib with
    ``config.environment(normalize_actions=False, clip_actions=True)``.

    Args:
        model: The model, with ``LiquidPolicy``.
        max_seq_len: Steps of a sequence through which RLlib's learner passes gradients.

    Returns:
        The module.

    Raises:
        TypeError: If the model's policy is another one.
        ValueError: If the policy has settings that the module lacks, such as ``use_sde``.

    Warns:
        UserWarning: If the model normalizes observations, whose statistics RLlib does not take.
    """
    policy: Any = model.policy
    if type(policy) is not LiquidRecurrentActorCriticPolicy:
        raise TypeError(f"the model must be a RecurrentPPO with LiquidPolicy, got {type(policy).__name__}")
    given = dict(policy._given)
    units = given.pop("lstm_hidden_size", None)
    if units is not None:
        given.setdefault("units", units)
    known = {*POLICY_SETTINGS, *OPTIMIZER, *WITHOUT_EFFECT}
    if wrong := [name for name, value in given.items() if value and name not in known]:
        raise ValueError(f"LiquidRLModule has no {' and no '.join(wrong)}: train the model without these settings")
    if model.get_vec_normalize_env() is not None:
        warnings.warn(
            "the statistics of VecNormalize are not part of the module: normalize observations in RLlib with a "
            "connector",
            stacklevel=2,
        )
    module = LiquidRLModule(
        observation_space=model.observation_space,
        action_space=model.action_space,
        model_config={
            **{name: given[name] for name in POLICY_SETTINGS if name in given},
            "max_seq_len": max_seq_len,
        },
    )
    module.policy.load_state_dict(policy.state_dict())
    return module
