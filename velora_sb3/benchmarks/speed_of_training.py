"""Rows of the benchmark of speed: training and acting beside SB3, sb3-contrib and sbx."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from sb3_contrib import RecurrentPPO as ContribRecurrentPPO
from stable_baselines3 import DDPG, DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3.algorithms import RecurrentPPO, RecurrentSAC
from velora_sb3.benchmarks import deployment
from velora_sb3.benchmarks.speed import Row
from velora_sb3.benchmarks.suite import make_model
from velora_sb3.benchmarks.tasks import MEMORIES, MLP, PENDULUM, TASKS
from velora_sb3.memory import StatefulPredictor

Turns = dict[str, Callable[[], object]]

# algorithm, environment, settings, steps of one turn
REACTIVE: dict[str, tuple[type[BaseAlgorithm], str, dict[str, Any], int]] = {
    "DDPG": (DDPG, "Pendulum-v1", {"learning_rate": 1e-3}, 500),
    "SAC": (SAC, "Pendulum-v1", {"learning_rate": 1e-3}, 300),
    "PPO": (PPO, "CartPole-v1", {"n_steps": 512}, 2048),
    "DQN": (DQN, "CartPole-v1", {"learning_starts": 100}, 3000),
}
RECURRENT_SAC_STEPS = 300
FEW, MANY = 8, 1024  # environments
STEPS, BATCH, EPOCHS = 32, 8192, 5  # of a rollout of many environments
CALLS = 100  # of predict in one turn


def rows(device: str) -> list[Row]:
    """Training in steps per second, then acting."""
    made = [
        Row(f"{name} on {env_id}", partial(_reactive, name), "steps/s", steps, slowness=3)
        for name, (_, env_id, _, steps) in REACTIVE.items()
    ]
    per_second = partial(Row, unit="steps/s", slowness=3)
    many = STEPS * MANY
    made += [
        per_second(f"RecurrentPPO, CartPoleNoVel-v1, {FEW} environments", _few_environments, steps=2_048),
        per_second(f"RecurrentPPO, CartPoles without velocities, {MANY} environments", _many_environments, steps=many),
        per_second(f"RecurrentSAC on {PENDULUM}", _recurrent_sac, steps=RECURRENT_SAC_STEPS),
    ]
    if device == "cpu":
        for name in deployment.MODELS:
            if name != "MLP, 64 and 64 units":
                made.append(Row(f"StatefulPredictor, RecurrentSAC, {name}", partial(_acting, name), "µs", CALLS))
    return made


def _learning(models: dict[str, Any], steps: int) -> Turns:
    return {name: partial(model.learn, steps, reset_num_timesteps=False) for name, model in models.items()}


def _reactive(name: str, device: str) -> Turns:
    algorithm, env, settings, steps = REACTIVE[name]
    models: dict[str, Any] = {
        "LiquidPolicy": algorithm("LiquidPolicy", env, seed=0, device=device, **settings),
        "MlpPolicy [64, 64]": algorithm("MlpPolicy", env, policy_kwargs=dict(MLP), seed=0, device=device, **settings),
    }
    if find_spec("sbx") is not None:
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
        other = getattr(import_module("sbx"), name)
        models["sbx's MlpPolicy [64, 64]"] = other("MlpPolicy", env, policy_kwargs=dict(MLP), seed=0, **settings)
    return _learning(models, steps)


def _few_environments(device: str) -> Turns:
    """Every memory with RL Zoo's settings, and sb3-contrib's own class with its LSTM."""
    task = TASKS["CartPoleNoVel, on policy"]
    candidates = {name: one for name, one in task.candidates.items() if one.algorithm is RecurrentPPO}
    lstm = candidates["RecurrentPPO, lstm"]
    heads = {name: value for name, value in lstm.policy_kwargs.items() if name not in ("cell", "units")}
    candidates["sb3-contrib's RecurrentPPO, MlpLstmPolicy"] = replace(
        lstm,
        algorithm=ContribRecurrentPPO,
        policy="MlpLstmPolicy",
        policy_kwargs={**heads, "lstm_hidden_size": lstm.policy_kwargs["units"]},
    )
    first = "RecurrentPPO, cfc"
    ordered = {first: candidates.pop(first), **candidates}
    return _learning({name: make_model(task, one, 0, device) for name, one in ordered.items()}, 2_048)


class _ManyCartPoles(VecEnv):
    """CartPoles whose velocities are hidden, all of them in one numpy array."""

    def __init__(self, num_envs: int) -> None:
        self._env: Any = CartPoleVectorEnv(num_envs)
        self._env.reset(seed=0)
        super().__init__(num_envs, self._env.single_observation_space, self._env.single_action_space)

    def _observations(self) -> np.ndarray:
        return np.asarray(self._env.state.T * [1, 0, 1, 0], np.float32)

    def reset(self) -> np.ndarray:
        self._env.reset()
        return self._observations()

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        _, rewards, terminated, truncated, _ = self._env.step(self._actions)
        dones, last = terminated | truncated, self._observations()
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for number in np.flatnonzero(dones):
            infos[number] = {"terminal_observation": last[number], "TimeLimit.truncated": not terminated[number]}
        self._env.state[:, dones] = self._env.np_random.uniform(-0.05, 0.05, (4, dones.sum()))
        self._env.steps[dones], self._env.prev_done[:] = 0, False  # gymnasium itself resets at the next step
        return self._observations(), rewards, dones, infos

    def close(self) -> None:
        self._env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self._env, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError("the environments have no attributes of their own")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError("the environments have no methods of their own")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * len(list(self._get_indices(indices)))


def _many_environments(device: str) -> Turns:
    settings: dict[str, Any] = {"n_steps": STEPS, "batch_size": BATCH, "n_epochs": EPOCHS, "device": device, "seed": 0}
    models: dict[str, Any] = {
        "LiquidPolicy": RecurrentPPO("LiquidPolicy", _ManyCartPoles(MANY), **settings),
        "PPO, MlpPolicy": PPO("MlpPolicy", _ManyCartPoles(MANY), **settings),
        "sb3-contrib's RecurrentPPO, MlpLstmPolicy": ContribRecurrentPPO(
            "MlpLstmPolicy", _ManyCartPoles(MANY), policy_kwargs={"lstm_hidden_size": 64}, **settings
        ),
    }
    return _learning(models, STEPS * MANY)


def _recurrent_sac(device: str) -> Turns:
    models = {
        "LiquidPolicy": RecurrentSAC("LiquidPolicy", PENDULUM, seed=0, device=device),
        **{
            name: RecurrentSAC("LiquidPolicy", PENDULUM, seed=0, device=device, policy_kwargs=dict(MEMORIES[name]))
            for name in ("cfc", "lrc")
        },
        "SAC, MlpPolicy": SAC("MlpPolicy", PENDULUM, seed=0, device=device),
    }
    return _learning(models, RECURRENT_SAC_STEPS)


def _acting(name: str, device: str) -> Turns:
    ours = deployment.MODELS[name]()
    sac = SAC("MlpPolicy", PENDULUM, policy_kwargs=dict(MLP), device="cpu")
    acting = {
        "StatefulPredictor": StatefulPredictor(ours),
        "SAC's MlpPolicy [64, 64]": sac,
        "PPO's MlpPolicy [64, 64]": deployment.MODELS["MLP, 64 and 64 units"](),
    }
    observation = np.zeros(ours.observation_space.shape)
    return {model_name: partial(_predict, model, observation) for model_name, model in acting.items()}


def _predict(model: Any, observation: np.ndarray) -> None:
    for _ in range(CALLS):
        model.predict(observation, deterministic=True)
