"""Liquid policies through SB3's way to ONNX act as before; skipped without ``onnx``."""

import io

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC

import velora_sb3  # noqa: F401  # registers "LiquidPolicy"

onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")


class Deployed(torch.nn.Module):
    """The deterministic action of a policy, as in SB3's guide."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, observation):
        chosen = self.network(observation, deterministic=True)
        return chosen[0] if isinstance(chosen, tuple) else chosen  # PPO's policy returns values too


def stacked():
    return gym.wrappers.FrameStackObservation(gym.make("Pendulum-v1"), 4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("liquid", [{}, {"wiring": "ncp", "units": 16}, {"cell": "ltc", "units": 8}])
@pytest.mark.parametrize(("algorithm", "env"), [(PPO, "Pendulum-v1"), (SAC, "Pendulum-v1"), (PPO, stacked)])
def test_the_file_acts_as_the_policy_does(algorithm, env, liquid):
    env = env() if callable(env) else env
    model = algorithm("LiquidPolicy", env, seed=0, device="cpu", policy_kwargs={**liquid})
    head = model.policy.action_net if algorithm is PPO else model.actor.mu
    torch.nn.init.normal_(head.weight)  # untrained, PPO's actions are all near zero
    net, file = Deployed(model.policy if algorithm is PPO else model.actor), io.BytesIO()
    example = torch.zeros(1, *model.observation_space.shape)
    torch.onnx.export(net, (example,), file, dynamo=False, opset_version=17, input_names=["seen"])
    seen = torch.randn_like(example)
    run = reference.ReferenceEvaluator(onnx.load_from_string(file.getvalue())).run
    np.testing.assert_allclose(run(None, {"seen": seen.numpy()})[0], net(seen).detach().numpy(), atol=1e-4)
