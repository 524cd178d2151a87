import copy
import pickle

import cloudpickle
import gymnasium as gym
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import QRDQN, TQC, TRPO, CrossQ, MaskablePPO
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.common.vec_env import VecFrameStack

from tests.compat.algorithms import RandomEnv
from tests.policies.test_recurrent_actor_critic import Doubled
from velora_sb3 import RecurrentPPO, RecurrentQRDQN, RecurrentSAC, RecurrentTD3, RecurrentTQC
from velora_sb3.cells import CfCCell, LiquidCell, LRCCell
from velora_sb3.memory import LiquidExtractor
from velora_sb3.policies import LiquidDQNPolicy


def optimizers(policy):
    return [module.optimizer for module in policy.modules() if hasattr(module, "optimizer")]


def test_liquid_arguments_reach_the_cell_and_sb3_s_stay_sb3_s():
    arguments = {"units": 16, "mode": "no_gate", "net_arch": {"pi": [8], "qf": [9]}, "n_critics": 3}
    policy = TD3("LiquidPolicy", "Pendulum-v1", policy_kwargs=arguments, buffer_size=10).policy
    for network in (policy.actor, policy.actor_target, policy.critic, policy.critic_target):
        assert isinstance(network.features_extractor, LiquidExtractor)
        assert (network.features_extractor.cell.hidden_size, network.features_extractor.cell.mode) == (16, "no_gate")
    assert policy.actor.mu[0].out_features == 8
    assert len(policy.critic.q_networks) == 3
    assert policy.critic.q_networks[0][0].out_features == 9


def test_actor_and_critic_have_networks_of_their_own():
    policy = TD3("LiquidPolicy", "Pendulum-v1", buffer_size=10).policy
    extractors = [
        n.features_extractor for n in (policy.actor, policy.critic, policy.actor_target, policy.critic_target)
    ]
    assert len({id(extractor) for extractor in extractors}) == 4


def test_what_rl_zoo_s_tuner_passes_is_understood():
    for net_arch in ([64, 64], {"pi": [32], "vf": [32]}):
        PPO("LiquidPolicy", "CartPole-v1", policy_kwargs={"net_arch": net_arch, "activation_fn": torch.nn.ReLU})


def test_the_user_s_policy_kwargs_are_left_as_they_are():
    arguments = {"units": 16, "features_extractor_class": Doubled, "features_extractor_kwargs": {"factor": 3}}
    copied = {**arguments, "features_extractor_kwargs": dict(arguments["features_extractor_kwargs"])}
    DQN("LiquidPolicy", "CartPole-v1", policy_kwargs=arguments, buffer_size=10)
    assert arguments == copied


def test_the_user_s_features_extractor_stands_before_the_cell():
    arguments = {"features_extractor_class": Doubled, "features_extractor_kwargs": {"factor": 3}}
    policy = DQN("LiquidPolicy", "CartPole-v1", policy_kwargs=arguments, buffer_size=10).policy
    extractor = policy.q_net.features_extractor
    assert isinstance(extractor, LiquidExtractor)
    assert isinstance(extractor.encoder, Doubled)
    assert extractor.encoder.factor == 3


def test_features_extractor_kwargs_count_more_than_a_policy_s_defaults():
    class WithEncoder(LiquidDQNPolicy):
        defaults = {"net_arch": [64], "encoder_units": 64}

    def extractor(**arguments):
        return DQN(WithEncoder, "CartPole-v1", policy_kwargs=arguments, buffer_size=10).policy.q_net.features_extractor

    assert extractor().cell.input_size == 64
    assert extractor(features_extractor_kwargs={"encoder_units": 32}).cell.input_size == 32
    assert extractor(encoder_units=None).dense is None


@pytest.mark.parametrize("encoder", [None, NatureCNN])
def test_images_scaled_already_reach_the_cnn(encoder):
    env = RandomEnv(spaces.Box(0, 1, (3, 36, 36)), spaces.Discrete(2))
    arguments = {"normalize_images": False, "units": 8}
    if encoder is not None:
        arguments["features_extractor_class"] = encoder
    policy = PPO("LiquidPolicy", env, n_steps=8, batch_size=8, policy_kwargs=arguments).policy
    assert isinstance(policy.features_extractor.encoder, NatureCNN)


def test_an_unknown_argument_is_named_with_the_nearest_and_with_all():
    with pytest.raises(TypeError, match="no argument 'wirring'; did you mean 'wiring'.*it takes .*n_critics.*units"):
        SAC("LiquidPolicy", "Pendulum-v1", policy_kwargs={"wirring": "ncp"}, buffer_size=10)


def test_a_wrong_value_is_explained():
    with pytest.raises(ValueError, match="wiring must be one of 'ncp'"):
        SAC("LiquidPolicy", "Pendulum-v1", policy_kwargs={"wiring": "npc"}, buffer_size=10)


@pytest.mark.parametrize(
    ("algorithm", "argument"),
    [
        *((algorithm, "n_critics") for algorithm in (TD3, SAC, TQC, CrossQ, RecurrentTD3, RecurrentSAC, RecurrentTQC)),
        *((algorithm, "n_quantiles") for algorithm in (TQC, QRDQN, RecurrentTQC, RecurrentQRDQN)),
    ],
)
@pytest.mark.parametrize("count", [0, -1, 2.5])
def test_no_critic_and_no_quantile_are_refused_at_once(algorithm, argument, count):
    env = "CartPole-v1" if "QRDQN" in algorithm.__name__ else "Pendulum-v1"
    with pytest.raises(ValueError, match=f"{argument} must be an integer of at least 1, got {count}"):
        algorithm("LiquidPolicy", env, policy_kwargs={argument: count}, buffer_size=100)


@pytest.mark.parametrize(("algorithm", "env"), [(TD3, "Pendulum-v1"), (PPO, "CartPole-v1"), (CrossQ, "Pendulum-v1")])
def test_adam_is_fused_and_keeps_the_settings_that_sb3_gives_it(algorithm, env):
    ours = algorithm("LiquidPolicy", env).policy
    theirs = algorithm("MlpPolicy", env).policy
    for our, their in zip(optimizers(ours), optimizers(theirs), strict=True):
        assert our.defaults == their.defaults
        assert all(group["fused"] for group in our.param_groups)


def test_a_user_s_choice_about_adam_is_kept():
    policy = PPO("LiquidPolicy", "CartPole-v1", policy_kwargs={"optimizer_kwargs": {"fused": False}}).policy
    assert policy.optimizer.param_groups[0]["fused"] is False


def test_fused_adam_computes_what_adam_computes():
    def trained(fused):
        kwargs = {"optimizer_kwargs": {"fused": fused, "eps": 1e-5}}
        model = PPO("LiquidPolicy", gym.make("CartPole-v1"), seed=0, n_steps=64, policy_kwargs=kwargs)
        return model.learn(64).policy.parameters_to_vector()

    torch.testing.assert_close(torch.as_tensor(trained(True)), torch.as_tensor(trained(False)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("algorithm", [PPO, SAC, RecurrentPPO, RecurrentSAC], ids=lambda one: one.__name__)
def test_updates_of_the_cells_are_multiplied(algorithm):
    """One Adam step: the cells move three times as far, everything else as far as before."""
    env = "Pendulum-v1"
    settings = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "max_grad_norm": 1e9}
    if algorithm in (SAC, RecurrentSAC):
        settings = {"learning_starts": 40, "batch_size": 4, "train_freq": 50, "gradient_steps": 1}
    moved = []
    for multiplier in (1.0, 3.0):
        # Without eps, Adam's first step is as long as the rate; the actor's gradient depends on the critic's step.
        kwargs = {"units": 4, "cell_lr_multiplier": multiplier, "optimizer_kwargs": {"eps": 1e-12}}
        model = algorithm("LiquidPolicy", env, seed=0, policy_kwargs=kwargs, device="cpu", **settings)
        before = {name: weight.clone() for name, weight in model.policy.named_parameters()}
        model.learn(50 if "train_freq" in settings else 16)
        moved.append({name: (weight - before[name]).abs() for name, weight in model.policy.named_parameters()})
    first, second = moved
    names = [name for name in first if first[name].max() > 0 and "target" not in name]
    cells = [name for name in names if ".cell." in name]
    assert cells
    assert len(names) > len(cells)
    for name in names:
        torch.testing.assert_close(second[name], (3 if name in cells else 1) * first[name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda policy: pickle.loads(cloudpickle.dumps(policy))])
@pytest.mark.parametrize("algorithm", [PPO, SAC])
def test_a_copy_multiplies_updates_too(algorithm, copied):
    policy = algorithm("LiquidPolicy", "Pendulum-v1", policy_kwargs={"cell_lr_multiplier": 3.0}, device="cpu").policy
    moved = []
    for one in (policy, copied(policy)):
        actor = one if algorithm is PPO else one.actor
        (cell,) = [module for module in actor.modules() if isinstance(module, LiquidCell)]
        before = [weight.clone() for weight in cell.parameters()]
        for weight in actor.parameters():
            weight.grad = torch.ones_like(weight)
        actor.optimizer.step()
        moved.append(torch.cat([(new - old).flatten() for new, old in zip(cell.parameters(), before, strict=True)]))
    rate = actor.optimizer.param_groups[0]["lr"]
    torch.testing.assert_close(moved[0], torch.full_like(moved[0], -3 * rate), rtol=1e-2, atol=0)
    torch.testing.assert_close(moved[1], moved[0])


def test_the_default_multiplier():
    for algorithm, expected in ((PPO, 3.0), (A2C, 3.0), (SAC, 1.0), (RecurrentPPO, 1.0)):
        assert algorithm("LiquidPolicy", "Pendulum-v1").policy._multiplier == expected


@pytest.mark.parametrize(
    ("algorithm", "settings", "orthogonal"),
    [
        (PPO, {}, True),
        (A2C, {"share_features_extractor": False}, True),
        (TRPO, {"cell": "lrc"}, True),
        (MaskablePPO, {}, True),
        (PPO, {"initialization": "ncps"}, False),
        (PPO, {"n_stack": 2}, False),
        (DQN, {}, False),
        (RecurrentPPO, {}, False),
    ],
)
def test_on_policy_inputs_of_reactive_cells_start_orthogonal(algorithm, settings, orthogonal):
    env = make_vec_env("CartPole-v1", 1)
    env = VecFrameStack(env, settings["n_stack"]) if "n_stack" in settings else env
    policy = algorithm("LiquidPolicy", env, policy_kwargs={"units": 16, **settings}).policy
    gates = [
        gate
        for cell in policy.modules()
        if isinstance(cell, CfCCell | LRCCell)
        for gate in cell.weight_ih.split(cell.hidden_size)
    ]
    assert gates
    for gate in gates:
        assert torch.allclose(gate.t() @ gate, 4 * torch.eye(4), atol=1e-4) == orthogonal


def test_a_subclass_of_the_extractor_starts_like_it():
    class Mine(LiquidExtractor):
        pass

    class Own(LiquidExtractor):
        def __init__(self, observation_space, **kwargs):
            super().__init__(observation_space, **kwargs)

    for extractor in (Mine, Own):
        policy = PPO("LiquidPolicy", "CartPole-v1", policy_kwargs={"features_extractor_class": extractor}).policy
        gate = policy.features_extractor.cell.weight_ih[:64]
        torch.testing.assert_close(gate.t() @ gate, 4 * torch.eye(4), atol=1e-4, rtol=0)


@pytest.mark.parametrize("settings", [{"cell": "ltc", "units": 4}, {"cell": "gru"}, {"wiring": "ncp", "units": 12}])
def test_on_policy_every_cell_can_be_made(settings):
    PPO("LiquidPolicy", "CartPole-v1", policy_kwargs=settings)


def test_a_multiplier_must_be_positive():
    with pytest.raises(ValueError, match="cell_lr_multiplier must be a finite number above 0, got 0"):
        PPO("LiquidPolicy", "CartPole-v1", policy_kwargs={"cell_lr_multiplier": 0})
