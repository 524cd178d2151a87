import pytest
from gymnasium import spaces
from sb3_contrib import ARS, TQC, RecurrentPPO
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize

from tests.algorithms import recurrent
from tests.compat.algorithms import BOX, DISCRETE, RandomEnv, make_model
from velora_sb3 import RecurrentDQN, RecurrentSAC

SPACE = {"vector": spaces.Box(-1, 1, (3,)), "timespans": spaces.Box(0, 5, (1,)), "other": spaces.Box(0, 1, (2,))}
MESSAGE = (
    r"VecNormalize normalizes 'timespans', .*: write VecNormalize\(env, norm_obs_keys=\['other', 'vector'\]\), "
    "and the same for an evaluation environment"
)
DQNS = (DQN, RecurrentDQN)
ALGORITHMS = [PPO, RecurrentPPO, ARS, SAC, TQC, DQN, RecurrentSAC, RecurrentDQN]


def vec_env(algorithm, observations=SPACE):
    return DummyVecEnv([lambda: RandomEnv(spaces.Dict(observations), DISCRETE if algorithm in DQNS else BOX)])


def make(algorithm, env, **arguments):
    return (recurrent.make_model if algorithm in recurrent.ALGORITHMS else make_model)(algorithm, env, **arguments)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_normalized_timespans_are_refused_before_training(algorithm):
    with pytest.raises(ValueError, match=MESSAGE):
        make(algorithm, VecNormalize(vec_env(algorithm)))


@pytest.mark.parametrize("arguments", [{"norm_obs_keys": ["vector", "other"]}, {"norm_obs": False}], ids=str)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_timespans_that_are_left_alone_are_welcome(algorithm, arguments):
    make(algorithm, VecNormalize(vec_env(algorithm), **arguments)).learn(20)


def test_a_wrapper_around_it_hides_nothing():
    with pytest.raises(ValueError, match="VecNormalize normalizes 'timespans'"):
        make(PPO, VecFrameStack(VecNormalize(vec_env(PPO)), 2), policy_kwargs={"n_stack": 2})


@pytest.mark.parametrize("algorithm", [PPO, RecurrentPPO, SAC, RecurrentSAC])
def test_a_model_is_loaded_into_no_such_environment(algorithm, tmp_path):
    make(algorithm, vec_env(algorithm)).save(tmp_path / "model")
    with pytest.raises(ValueError, match=MESSAGE):
        algorithm.load(tmp_path / "model", env=VecNormalize(vec_env(algorithm)))


@pytest.mark.parametrize("algorithm", [PPO, RecurrentPPO, SAC])
def test_another_key_is_looked_up_wherever_it_is_given(algorithm):
    space = {"vector": SPACE["vector"], "age": SPACE["timespans"]}
    for arguments in ({"timespans_key": "age"}, {"features_extractor_kwargs": {"timespans_key": "age"}}):
        with pytest.raises(ValueError, match="VecNormalize normalizes 'age'"):
            make(algorithm, VecNormalize(vec_env(algorithm, space)), policy_kwargs=arguments)
    make(algorithm, VecNormalize(vec_env(algorithm, space)))  # no timespans: an input like the others


def test_an_environment_set_later_is_refused_when_a_cell_sees_it():
    model = make(PPO, vec_env(PPO))
    model.set_env(VecNormalize(vec_env(PPO)))
    with pytest.raises(ValueError, match="timespans must be finite and not negative.*VecNormalize: norm_obs_keys"):
        model.learn(64)
