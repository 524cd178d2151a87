import subprocess
import sys

import pytest
from sb3_contrib import TQC
from stable_baselines3 import DDPG, PPO, TD3
from stable_baselines3.common.policies import ActorCriticPolicy

import velora_sb3
from velora_sb3 import RecurrentMaskablePPO
from velora_sb3.policies import (
    ALIAS,
    POLICIES,
    LiquidRecurrentMaskableActorCriticPolicy,
    LiquidTD3Policy,
    policy_for,
    register,
)


def test_every_algorithm_knows_the_alias():
    assert len(POLICIES) == 13
    for algorithm, policy in POLICIES.items():
        assert algorithm.policy_aliases[ALIAS] is policy


def test_the_short_name_is_the_policy_of_ddpg_and_td3():
    assert velora_sb3.LiquidPolicy is LiquidTD3Policy
    assert POLICIES[DDPG] is POLICIES[TD3] is LiquidTD3Policy


def test_registering_again_changes_nothing():
    before = {algorithm: dict(algorithm.policy_aliases) for algorithm in POLICIES}
    register()
    assert {algorithm: dict(algorithm.policy_aliases) for algorithm in POLICIES} == before


def test_sb3_s_own_aliases_stay():
    for algorithm in POLICIES:
        assert {"MlpPolicy", "MlpLstmPolicy"} & set(algorithm.policy_aliases)


def test_each_algorithm_has_a_dict_of_its_own():
    # DDPG inherits TD3's dict object: an entry written in place would appear in both.
    assert len({id(algorithm.policy_aliases) for algorithm in POLICIES}) == len(POLICIES)


def test_a_foreign_policy_under_the_alias_is_an_error_and_stays(monkeypatch):
    monkeypatch.setattr(PPO, "policy_aliases", {**PPO.policy_aliases, ALIAS: ActorCriticPolicy})
    with pytest.raises(ValueError, match="PPO already has an alias 'LiquidPolicy', stable_baselines3.common.policies"):
        register()
    assert PPO.policy_aliases[ALIAS] is ActorCriticPolicy


def test_a_user_s_subclass_of_an_algorithm_gets_its_parent_s_policy():
    class MyTQC(TQC):
        pass

    class MyMaskable(RecurrentMaskablePPO):
        pass

    assert policy_for(MyTQC) is POLICIES[TQC]
    assert policy_for(MyMaskable) is LiquidRecurrentMaskableActorCriticPolicy
    assert policy_for(object) is None


def test_importing_twice_in_a_fresh_interpreter_works():
    program = (
        "import importlib, velora_sb3; importlib.reload(velora_sb3); "
        "from stable_baselines3 import PPO; PPO('LiquidPolicy', 'CartPole-v1')"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
