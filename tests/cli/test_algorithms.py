import gymnasium as gym
import pytest
import sb3_contrib
from sb3_contrib import QRDQN, CrossQ, MaskablePPO
from stable_baselines3 import DDPG, DQN, PPO

from velora_sb3 import RecurrentMaskablePPO, RecurrentPPO
from velora_sb3 import algorithms as recurrent
from velora_sb3._validation import takes_masks
from velora_sb3.cli.algorithms import (
    action_spaces,
    algorithms,
    check_action_space,
    check_masks,
    command_name,
    find_algorithm,
    memory_kinds,
)
from velora_sb3.cli.errors import UserError
from velora_sb3.policies import POLICIES


def test_names():
    names = {DDPG: "ddpg", CrossQ: "crossq", QRDQN: "qrdqn", MaskablePPO: "maskable_ppo"}
    names[RecurrentMaskablePPO] = "recurrent_maskable_ppo"
    assert {algorithm: command_name(algorithm) for algorithm in names} == names
    assert command_name(type("RecurrentTD3", (), {})) == "recurrent_td3"


def test_every_algorithm_of_the_registry_is_there():
    known = list(algorithms().values())
    ours = [getattr(recurrent, name) for name in recurrent.__all__]
    assert set(known) == {*POLICIES, *ours} - {sb3_contrib.RecurrentPPO}  # ours has its name


@pytest.mark.parametrize("name", ["recurrent_ppo", "ppo_lstm", "Recurrent-PPO"])
def test_finding(name):
    assert find_algorithm(name) == ("recurrent_ppo", RecurrentPPO)


def test_an_unknown_one():
    with pytest.raises(UserError, match=r"unknown algorithm 'pp0': did you mean .*'ppo'.*choose from a2c, ars"):
        find_algorithm("pp0")


def test_action_spaces_are_those_that_sb3_documents():
    assert action_spaces(DDPG) == ["Box"]
    assert action_spaces(DQN) == ["Discrete"]
    assert action_spaces(PPO) == ["Box", "Discrete", "MultiDiscrete", "MultiBinary"]
    assert action_spaces(MaskablePPO) == ["Discrete", "MultiDiscrete", "MultiBinary"]
    assert action_spaces(RecurrentMaskablePPO) == ["Discrete", "MultiDiscrete", "MultiBinary"]


def test_only_a_recurrent_algorithm_is_called_recurrent():
    assert [name for name, algorithm in algorithms().items() if "recurrent" in memory_kinds(algorithm)] == [
        name for name in algorithms() if name.startswith("recurrent_")
    ]
    assert memory_kinds(DDPG) == ["reactive", "windowed"]


def test_the_wrong_action_space_names_algorithms_that_fit():
    env = gym.make("CartPole-v1")
    check_action_space(PPO, env, "CartPole-v1")
    with pytest.raises(
        UserError, match=r"DDPG does not support .* of CartPole-v1, Discrete\(2\); it supports Box; use dqn"
    ):
        check_action_space(DDPG, env, "CartPole-v1")


def test_masks():
    assert [algorithm for algorithm in algorithms().values() if takes_masks(algorithm)] == [
        MaskablePPO,
        RecurrentMaskablePPO,
    ]
    env = gym.make("CartPole-v1")
    check_masks(RecurrentPPO, env, "CartPole-v1")
    check_masks(RecurrentMaskablePPO, gym.make("VeloraMasked-v0"), "VeloraMasked-v0")
    for algorithm, other in {MaskablePPO: "ppo", RecurrentMaskablePPO: "recurrent_ppo"}.items():
        needs = (
            f"{algorithm.__name__} needs an environment with .* action_masks.., and CartPole-v1 has none: use {other}"
        )
        with pytest.raises(UserError, match=needs):
            check_masks(algorithm, env, "CartPole-v1")
