import numpy as np
import pytest
from gymnasium import spaces
from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3

from tests.compat.algorithms import RandomEnv, make_env
from velora_sb3 import LiquidPolicy, RecurrentDQN, RecurrentMaskablePPO, RecurrentSAC, RecurrentTD3, policies
from velora_sb3.memory import SequenceDictReplayBuffer, SequenceReplayBuffer


@pytest.mark.parametrize(
    ("algorithm", "env", "right"),
    [
        (SAC, "Pendulum-v1", "LiquidSACPolicy"),
        (TQC, "Pendulum-v1", "LiquidTQCPolicy"),
        (CrossQ, "Pendulum-v1", "LiquidCrossQPolicy"),
        (DQN, "CartPole-v1", "LiquidDQNPolicy"),
        (QRDQN, "CartPole-v1", "LiquidQRDQNPolicy"),
        (PPO, "CartPole-v1", "LiquidActorCriticPolicy"),
        (A2C, "CartPole-v1", "LiquidActorCriticPolicy"),
        (TRPO, "CartPole-v1", "LiquidActorCriticPolicy"),
        (MaskablePPO, "CartPole-v1", "LiquidMaskableActorCriticPolicy"),
        (RecurrentPPO, "CartPole-v1", "LiquidRecurrentActorCriticPolicy"),
        (RecurrentMaskablePPO, "CartPole-v1", "LiquidRecurrentMaskableActorCriticPolicy"),
        (ARS, "CartPole-v1", "LiquidARSPolicy"),
    ],
)
def test_the_wrong_policy_is_told_the_right_one(algorithm, env, right):
    with pytest.raises(TypeError, match=f"LiquidTD3Policy is not a policy for .*: use velora_sb3.policies.{right},"):
        algorithm(LiquidPolicy, env)


@pytest.mark.parametrize("algorithm", [DDPG, TD3])
def test_td3_s_family_refuses_the_others(algorithm):
    with pytest.raises(TypeError, match="use velora_sb3.policies.LiquidTD3Policy"):
        algorithm(policies.LiquidSACPolicy, "Pendulum-v1")


def test_subclasses_of_algorithm_and_policy_are_welcome():
    class MySAC(SAC):
        pass

    class MyPolicy(policies.LiquidSACPolicy):
        pass

    assert isinstance(MySAC(MyPolicy, "Pendulum-v1", buffer_size=10).policy, MyPolicy)


def test_an_algorithm_that_builds_another_policy_beside_its_own_is_not_disturbed():
    class Imitator(PPO):
        def _setup_model(self):
            super()._setup_model()
            spaces = (self.observation_space, self.action_space)
            self.teacher = policies.LiquidDQNPolicy(*spaces, lambda _: 1e-3)

    assert Imitator("LiquidPolicy", "CartPole-v1").teacher is not None


@pytest.mark.parametrize(
    ("algorithm", "env", "policy", "right"),
    [
        (RecurrentSAC, "Pendulum-v1", LiquidPolicy, "LiquidSACPolicy"),
        (RecurrentTD3, "Pendulum-v1", "MlpPolicy", "LiquidTD3Policy"),
        (RecurrentDQN, "CartPole-v1", policies.LiquidQRDQNPolicy, "LiquidDQNPolicy"),
    ],
)
def test_recurrent_algorithms_name_the_right_one_too(algorithm, env, policy, right):
    with pytest.raises(TypeError, match=f"is not a policy for {algorithm.__name__}: use velora_sb3.policies.{right},"):
        algorithm(policy, env)


def test_a_policy_with_a_constructor_of_its_own_is_recognized():
    class MyPolicy(policies.LiquidTD3Policy):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)

    with pytest.raises(TypeError, match="MyPolicy is not a policy for SAC: use velora_sb3.policies.LiquidSACPolicy"):
        SAC(MyPolicy, "Pendulum-v1")


def test_an_algorithm_that_replaces_the_aliases_keeps_its_parents_policy():
    class Short(SAC):
        policy_aliases = {"short": policies.LiquidTD3Policy}

    assert policies.policy_for(Short) is policies.LiquidSACPolicy
    with pytest.raises(TypeError, match="use velora_sb3.policies.LiquidSACPolicy"):
        Short("short", "Pendulum-v1")


@pytest.mark.parametrize("policy", ["liquid", "SB3"])
@pytest.mark.parametrize("observations", ["vector", "dict"])
@pytest.mark.parametrize("algorithm", [DDPG, TD3, SAC, TQC, DQN, QRDQN])
def test_a_replay_buffer_of_windows_needs_an_algorithm_with_memory(algorithm, observations, policy):
    buffer = SequenceDictReplayBuffer if observations == "dict" else SequenceReplayBuffer
    env, mlp = make_env(algorithm, observations), "MultiInputPolicy" if observations == "dict" else "MlpPolicy"
    with pytest.raises(ValueError, match=f"{algorithm.__name__} has no memory between steps, and {buffer.__name__}"):
        algorithm("LiquidPolicy" if policy == "liquid" else mlp, env, buffer_size=50, replay_buffer_class=buffer)


def test_a_subclass_of_the_buffer_is_refused_as_well():
    class Mine(SequenceReplayBuffer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)

    with pytest.raises(ValueError, match="SAC has no memory between steps, and Mine samples windows"):
        SAC("MlpPolicy", "Pendulum-v1", buffer_size=50, replay_buffer_class=Mine)


@pytest.mark.parametrize("policy", ["LiquidPolicy", "MlpPolicy"])
def test_a_replay_buffer_of_windows_that_is_loaded_later_is_refused_as_well(policy, tmp_path):
    RecurrentSAC("LiquidPolicy", "Pendulum-v1", buffer_size=200).learn(50).save_replay_buffer(tmp_path / "buffer")
    model = SAC(policy, "Pendulum-v1", buffer_size=200, learning_starts=0, batch_size=32)
    model.load_replay_buffer(tmp_path / "buffer")
    with pytest.raises(ValueError, match="SAC has no memory between steps, and SequenceReplayBuffer"):
        model.learn(5)


@pytest.mark.parametrize("algorithm", [DDPG, TD3, SAC, TQC, DQN, QRDQN])
@pytest.mark.parametrize("number", ["observation", "entry"])
def test_a_number_that_sb3_s_replay_buffer_cannot_sample_is_refused(algorithm, number):
    space = spaces.Box(-1, 1, (), np.float32)
    env = RandomEnv(space if number == "observation" else spaces.Dict({"a": space}), make_env(algorithm).action_space)
    with pytest.raises(ValueError, match=r"is a number, .* make it a vector of one number"):
        algorithm("LiquidPolicy", env, buffer_size=50)


def test_an_algorithm_without_memory_may_hold_such_a_buffer_beside_its_own():
    class Collector(SAC):
        def _setup_model(self):
            super()._setup_model()
            self.windows = SequenceReplayBuffer(50, self.observation_space, self.action_space, sequence_length=4)

    assert Collector("MlpPolicy", "Pendulum-v1", buffer_size=50).windows.sequence_length == 4
