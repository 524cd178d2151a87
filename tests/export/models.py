"""Small models of every family, with random weights: what an export must be able to carry."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation
from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize

import velora_sb3
from velora_sb3 import (
    RecurrentDDPG,
    RecurrentDQN,
    RecurrentMaskablePPO,
    RecurrentQRDQN,
    RecurrentSAC,
    RecurrentTD3,
    RecurrentTQC,
)

VECTOR = spaces.Box(-2.0, 2.0, (3,))
LIMITED = spaces.Box(np.array([-1.0, -0.5], np.float32), np.array([2.0, 3.0], np.float32))
TIMES = spaces.Box(0.0, np.inf, (1,))
DICT = spaces.Dict(
    {
        "b": spaces.Box(-1.0, 1.0, (2, 2), np.float64),
        "a": spaces.Discrete(3),
        "levels": spaces.MultiDiscrete([2, 3]),
        "switches": spaces.MultiBinary(2),
        "counts": spaces.Box(0, 9, (2,), np.int16),
    }
)
MIXED = spaces.Dict({"a": spaces.Discrete(3), "b": VECTOR})  # sb3-contrib's LSTMs take no MultiDiscrete in a Dict
TIMED = spaces.Dict({"observation": VECTOR, "timespans": TIMES})
HISTORY = spaces.Box(-1.0, 1.0, (4, 3))
TIMED_HISTORY = spaces.Dict({"observation": HISTORY, "timespans": spaces.Box(0.0, np.inf, (4,))})
IMAGE = spaces.Box(0, 255, (36, 40, 3), np.uint8)


class Spaces(gym.Env[Any, Any]):
    """An environment that has spaces, and nothing to do."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}

    def action_masks(self):
        space = self.action_space
        sizes = space.nvec if isinstance(space, spaces.MultiDiscrete) else [getattr(space, "n", 2)]
        return np.ones(int(np.sum(sizes)), bool)


def randomize(model, seed=0):
    """Weights as of a trained model: no head near zero, no statistics at their start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.policy.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator) * min(1, 5 / parameter[0].numel() ** 0.5)
            if not name.rpartition(".")[2].startswith(("sigma", "mu", "cm", "gleak", "vleak", "erev")) or "mu." in name:
                parameter.add_(0.2 * noise)
        for name, buffer in model.policy.named_buffers():
            if name.endswith(("ra_mean", "running_mean")):
                buffer.add_(0.3 * torch.randn(buffer.shape, generator=generator))
            if name.endswith(("ra_var", "running_var")):
                buffer.mul_(0.5 + torch.rand(buffer.shape, generator=generator))
    return model


def build(algorithm, policy="LiquidPolicy", observations=VECTOR, actions=LIMITED, env=None, **settings):
    """A model in an environment of these spaces."""
    defaults: dict[str, Any] = {"device": "cpu", "seed": 0}
    if issubclass(algorithm, OffPolicyAlgorithm):
        defaults["buffer_size"] = 100
        settings["policy_kwargs"] = {"net_arch": [16, 8], **settings.get("policy_kwargs", {})}
    elif algorithm in (PPO, MaskablePPO, RecurrentPPO, RecurrentMaskablePPO, velora_sb3.RecurrentPPO):
        defaults |= {"n_steps": 8, "batch_size": 8}
    env = DummyVecEnv([lambda: Spaces(observations, actions)]) if env is None else env
    return randomize(algorithm(policy, env, **defaults, **settings))


def normalized(observations, actions=LIMITED, **settings):
    """An environment under VecNormalize, with statistics far from their start."""
    env = VecNormalize(DummyVecEnv([lambda: Spaces(observations, actions)]), **settings)
    generator = np.random.default_rng(1)
    for statistics in env.obs_rms.values() if isinstance(env.obs_rms, dict) else [env.obs_rms]:
        statistics.mean = generator.normal(10, 100, statistics.mean.shape)
        statistics.var = generator.uniform(1, 3, statistics.var.shape)
    return env


def liquid(**settings):
    return {"policy_kwargs": {"units": 8, **settings}}


def history(actions=LIMITED):
    return DummyVecEnv([lambda: FrameStackObservation(Spaces(VECTOR, actions), 4)])


def stacked(n_stack=3, actions=LIMITED):
    return VecFrameStack(DummyVecEnv([lambda: Spaces(VECTOR, actions)]), n_stack)


Make = Callable[[], Any]
CHOICE, CHOICES, SWITCHES = spaces.Discrete(4), spaces.MultiDiscrete([3, 2]), spaces.MultiBinary(3)

MODELS: dict[str, Make] = {
    # SB3's own policies
    "PPO": lambda: build(PPO, "MlpPolicy"),
    "PPO, discrete": lambda: build(PPO, "MlpPolicy", actions=CHOICE),
    "PPO, multidiscrete": lambda: build(PPO, "MlpPolicy", actions=CHOICES),
    "PPO, multibinary": lambda: build(PPO, "MlpPolicy", actions=SWITCHES),
    "PPO, gSDE": lambda: build(PPO, "MlpPolicy", use_sde=True),
    "PPO, gSDE, squashed": lambda: build(PPO, "MlpPolicy", use_sde=True, policy_kwargs={"squash_output": True}),
    "PPO, ELU, three layers": lambda: build(
        PPO, "MlpPolicy", policy_kwargs={"activation_fn": torch.nn.ELU, "net_arch": [16, 8, 4]}
    ),
    "PPO, own extractors": lambda: build(PPO, "MlpPolicy", policy_kwargs={"share_features_extractor": False}),
    "PPO, no layers": lambda: build(PPO, "MlpPolicy", policy_kwargs={"net_arch": []}),
    "A2C, Discrete observation": lambda: build(A2C, "MlpPolicy", spaces.Discrete(5), CHOICE),
    "A2C, MultiDiscrete observation": lambda: build(A2C, "MlpPolicy", spaces.MultiDiscrete([3, 4])),
    "A2C, MultiBinary observation": lambda: build(A2C, "MlpPolicy", spaces.MultiBinary(4)),
    "A2C, scalar": lambda: build(A2C, "LiquidPolicy", spaces.Box(-1.0, 1.0, ()), policy_kwargs={"units": 4}),
    "A2C, float64": lambda: build(A2C, "MlpPolicy", spaces.Box(-1.0, 1.0, (2, 2), np.float64)),
    "A2C, integers": lambda: build(A2C, "MlpPolicy", spaces.Box(0, 7, (3,), np.int64)),
    "A2C, matrix of actions": lambda: build(A2C, "MlpPolicy", actions=spaces.Box(-1.0, 1.0, (2, 2))),
    "A2C, Dict": lambda: build(A2C, "MultiInputPolicy", DICT),
    "TRPO": lambda: build(TRPO, "MlpPolicy"),
    "SAC": lambda: build(SAC, "MlpPolicy"),
    "SAC, gSDE": lambda: build(SAC, "MlpPolicy", use_sde=True),
    "SAC, Dict": lambda: build(SAC, "MultiInputPolicy", DICT),
    "TD3": lambda: build(TD3, "MlpPolicy"),
    "DDPG": lambda: build(DDPG, "MlpPolicy"),
    "DQN": lambda: build(DQN, "MlpPolicy", actions=CHOICE),
    "TQC": lambda: build(TQC, "MlpPolicy"),
    "QRDQN": lambda: build(QRDQN, "MlpPolicy", actions=CHOICE, policy_kwargs={"n_quantiles": 5}),
    "CrossQ": lambda: build(CrossQ, "MlpPolicy", policy_kwargs={"net_arch": [16, 16]}),
    "ARS": lambda: build(ARS, "MlpPolicy"),
    "ARS, linear": lambda: build(ARS, "LinearPolicy"),
    "ARS, discrete": lambda: build(ARS, "MlpPolicy", actions=CHOICE),
    "MaskablePPO": lambda: build(MaskablePPO, "MlpPolicy", actions=CHOICE),
    "MaskablePPO, multidiscrete": lambda: build(MaskablePPO, "MlpPolicy", actions=CHOICES),
    "MaskablePPO, multibinary": lambda: build(MaskablePPO, "MlpPolicy", actions=SWITCHES),
    "RecurrentPPO, LSTM": lambda: build(RecurrentPPO, "MlpLstmPolicy", policy_kwargs={"lstm_hidden_size": 8}),
    "RecurrentPPO, two LSTM layers": lambda: build(
        RecurrentPPO, "MlpLstmPolicy", actions=CHOICE, policy_kwargs={"lstm_hidden_size": 8, "n_lstm_layers": 2}
    ),
    "RecurrentPPO, Dict, LSTM": lambda: build(
        RecurrentPPO, "MultiInputLstmPolicy", MIXED, policy_kwargs={"lstm_hidden_size": 8}
    ),
    # liquid, reactive and windowed
    "liquid PPO": lambda: build(PPO, **liquid()),
    "liquid PPO, history": lambda: build(PPO, env=history(), **liquid()),
    "liquid PPO, history, LTC": lambda: build(PPO, env=history(), **liquid(cell="ltc")),
    "liquid SAC, frame stack": lambda: build(SAC, env=stacked(), **liquid(n_stack=3)),
    "liquid A2C, timespans": lambda: build(A2C, observations=TIMED, **liquid(mode="no_gate")),
    "liquid A2C, history, timespans": lambda: build(A2C, observations=TIMED_HISTORY, **liquid(cell="ltc")),
    "liquid TD3, flat history": lambda: build(TD3, observations=HISTORY, **liquid(history=False)),
    "liquid TD3, Dict": lambda: build(TD3, observations=DICT, **liquid(encoder_units=6, readout_units=5)),
    "liquid DDPG": lambda: build(DDPG, **liquid(backbone_units=6, backbone_layers=2)),
    "liquid DQN, wired": lambda: build(DQN, actions=CHOICE, **liquid(wiring="ncp", units=12)),
    "liquid QRDQN": lambda: build(QRDQN, actions=CHOICE, **liquid(mode="pure")),
    "liquid TQC, mixed memory": lambda: build(TQC, **liquid(mixed_memory=True)),
    "liquid CrossQ": lambda: build(CrossQ, **liquid(net_arch=[8])),
    "liquid ARS": lambda: build(ARS, **liquid()),
    "liquid TRPO": lambda: build(TRPO, **liquid()),
    "liquid MaskablePPO": lambda: build(MaskablePPO, actions=CHOICES, **liquid()),
    # liquid, recurrent
    "RecurrentSAC": lambda: build(RecurrentSAC, **liquid()),
    "RecurrentSAC, CfC alone": lambda: build(RecurrentSAC, **liquid(mixed_memory=False)),
    "RecurrentSAC, CfC alone, timespans": lambda: build(RecurrentSAC, observations=TIMED, **liquid(mixed_memory=False)),
    "RecurrentSAC, gSDE": lambda: build(RecurrentSAC, use_sde=True, **liquid()),
    "RecurrentSAC, timespans": lambda: build(RecurrentSAC, observations=TIMED, **liquid()),
    "RecurrentSAC, wired": lambda: build(RecurrentSAC, **liquid(wiring="ncp", units=19)),
    "RecurrentSAC, wired, timespans": lambda: build(RecurrentSAC, observations=TIMED, **liquid(wiring="random")),
    "RecurrentSAC, wired, pure": lambda: build(RecurrentSAC, **liquid(wiring="ncp", units=10, mode="pure")),
    "RecurrentSAC, LTC, NCP": lambda: build(RecurrentSAC, **liquid(cell="ltc", wiring="ncp", units=12)),
    "RecurrentSAC, mixed memory": lambda: build(
        RecurrentSAC, observations=TIMED, **liquid(mixed_memory=True, cell="ltc")
    ),
    "RecurrentTD3, Dict": lambda: build(RecurrentTD3, observations=DICT, **liquid(encoder_units=6)),
    "RecurrentDDPG, backbone": lambda: build(
        RecurrentDDPG, observations=TIMED, **liquid(backbone_units=6, mode="no_gate")
    ),
    "RecurrentTQC, pure": lambda: build(RecurrentTQC, observations=TIMED, **liquid(mode="pure")),
    "RecurrentDQN": lambda: build(RecurrentDQN, actions=CHOICE, **liquid()),
    "RecurrentQRDQN": lambda: build(RecurrentQRDQN, actions=CHOICE, **liquid(mixed_memory=True)),
    "RecurrentPPO": lambda: build(RecurrentPPO, **liquid()),
    "RecurrentPPO, skip connection": lambda: build(
        RecurrentPPO, observations=TIMED, **liquid(units=5, skip_connection=True)
    ),
    "RecurrentPPO, odd state": lambda: build(RecurrentPPO, **liquid(units=7)),
    "RecurrentPPO, timespans": lambda: build(RecurrentPPO, observations=TIMED, **liquid(cell="ltc", units=5)),
    "RecurrentPPO, Dict, discrete": lambda: build(RecurrentPPO, observations=DICT, actions=CHOICES, **liquid()),
    "RecurrentPPO of this package": lambda: build(velora_sb3.RecurrentPPO, **liquid(mixed_memory=True)),
    "RecurrentPPO of this package, LSTM": lambda: build(
        velora_sb3.RecurrentPPO, "MlpLstmPolicy", policy_kwargs={"lstm_hidden_size": 8, "shared_lstm": False}
    ),
    "RecurrentMaskablePPO": lambda: build(RecurrentMaskablePPO, actions=CHOICE, **liquid(wiring="ncp", units=12)),
    "RecurrentMaskablePPO, LSTM": lambda: build(
        RecurrentMaskablePPO, "MlpLstmPolicy", actions=CHOICES, policy_kwargs={"lstm_hidden_size": 8}
    ),
    # other cells
    **{
        f"RecurrentSAC, {cell}{', timespans' * timed}": lambda cell=cell, timed=timed: build(
            RecurrentSAC, observations=TIMED if timed else VECTOR, **liquid(cell=cell)
        )
        for cell in ("lrc", "gru", "lstm")
        for timed in (False, True)
    },
    "RecurrentSAC, lrc, wired": lambda: build(RecurrentSAC, **liquid(cell="lrc", wiring="ncp", units=12)),
    "RecurrentTD3, lrc, euler": lambda: build(
        RecurrentTD3, observations=TIMED, **liquid(cell="lrc", wiring="random", solver="euler")
    ),
    "RecurrentDQN, lrc, mixed memory": lambda: build(
        RecurrentDQN, actions=CHOICE, **liquid(cell="lrc", mixed_memory=True)
    ),
    "RecurrentPPO, lrc": lambda: build(RecurrentPPO, observations=TIMED, **liquid(cell="lrc")),
    "RecurrentPPO, gru": lambda: build(RecurrentPPO, observations=TIMED, **liquid(cell="gru")),
    "RecurrentMaskablePPO, lstm": lambda: build(RecurrentMaskablePPO, actions=CHOICES, **liquid(cell="lstm")),
    "liquid PPO, lrc": lambda: build(PPO, **liquid(cell="lrc", solver="euler")),
    "liquid PPO, history, lrc": lambda: build(PPO, observations=TIMED_HISTORY, **liquid(cell="lrc")),
    "liquid PPO, history, gru": lambda: build(PPO, observations=TIMED_HISTORY, **liquid(cell="gru")),
    "liquid A2C, lstm": lambda: build(A2C, observations=TIMED, **liquid(cell="lstm")),
    # VecNormalize
    "PPO, VecNormalize": lambda: build(PPO, "MlpPolicy", env=normalized(VECTOR)),
    "PPO, VecNormalize, float64": lambda: build(
        PPO, "MlpPolicy", env=normalized(spaces.Box(-np.inf, np.inf, (3,), np.float64), clip_obs=1.0)
    ),
    "PPO, VecNormalize, no clipping": lambda: build(PPO, "MlpPolicy", env=normalized(VECTOR, clip_obs=np.inf)),
    "PPO, VecNormalize, integers": lambda: build(
        PPO, "MlpPolicy", env=normalized(spaces.Box(0, 99, (3,), np.int32))
    ),
    "PPO, VecNormalize, Dict": lambda: build(
        PPO, "MultiInputPolicy", env=normalized(DICT, norm_obs_keys=["b", "counts"])
    ),
    "PPO, VecNormalize, frame stack": lambda: build(PPO, env=VecNormalize(stacked()), **liquid(n_stack=3)),
    "RecurrentSAC, VecNormalize, timespans": lambda: build(
        RecurrentSAC, env=normalized(TIMED, norm_obs_keys=["observation"]), **liquid()
    ),
}  # fmt: skip

IMAGE_MODELS: dict[str, Make] = {
    "PPO, image": lambda: build(PPO, "CnnPolicy", IMAGE, CHOICE),
    "RecurrentSAC, image": lambda: build(RecurrentSAC, observations=IMAGE, **liquid()),
    "SAC, image in a Dict": lambda: build(
        SAC, "MultiInputPolicy", spaces.Dict({"camera": IMAGE, "speed": VECTOR}), policy_kwargs={"net_arch": [8]}
    ),
}
