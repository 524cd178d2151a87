from contextlib import nullcontext

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from velora_sb3 import RecurrentMaskablePPO, RecurrentSAC, StatefulPredictor, load_checkpoint, save_checkpoint
from velora_sb3._normalization import ObservationStatistics, resolve_statistics
from velora_sb3.envs import IrregularSampling, TimeDeltaObservation

OBSERVATION = np.array([0.1, -0.2, 0.0], dtype=np.float32)


def recurrent(algorithm):
    settings = {"n_steps": 8, "batch_size": 8} if algorithm is RecurrentPPO else {"buffer_size": 64}
    return algorithm("LiquidPolicy", "PendulumNoVel-v1", seed=0, **settings)


@pytest.fixture(params=[RecurrentSAC, RecurrentPPO])
def model(request):
    return recurrent(request.param)


def test_the_state_goes_on_without_being_passed(model):
    predictor, state, starts = StatefulPredictor(model), None, np.ones(1)
    for _ in range(4):
        action, kept = predictor.predict(OBSERVATION, deterministic=True)
        expected, state = model.predict(OBSERVATION, state, starts, deterministic=True)
        starts = np.zeros(1)
        np.testing.assert_array_equal(action, expected)
        np.testing.assert_array_equal(kept[0], state[0])


def test_observations_with_timespans():
    env = IrregularSampling(gym.make("PendulumNoVel-v1"), drop_probability=0.5)
    model = RecurrentSAC("LiquidPolicy", env, buffer_size=64, seed=0)
    predictor, state, starts = StatefulPredictor(model), None, np.ones(1)
    observation, _ = env.reset(seed=0)
    for _ in range(4):
        action, _ = predictor.predict(observation, deterministic=True)
        expected, state = model.predict(observation, state, starts, deterministic=True)
        starts = np.zeros(1)
        np.testing.assert_array_equal(action, expected)
        observation = env.step(action)[0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros(4), "must be a dict of 'observation', 'timespans', got ndarray"),
        ({"observation": np.zeros(3)}, "must be a dict of 'observation', 'timespans', got one of .'observation'."),
        ({"observation": np.zeros((2, 3)), "timespans": np.ones(1)}, "must be of one batch, got .*2.*1"),
    ],
)
@pytest.mark.parametrize("algorithm", [RecurrentSAC, RecurrentPPO])
def test_what_is_not_the_model_s_dict_is_explained(algorithm, wrong, message):
    model = algorithm("LiquidPolicy", TimeDeltaObservation(gym.make("PendulumNoVel-v1")), seed=0)
    for act in (model.predict, StatefulPredictor(model).predict):
        with pytest.raises(ValueError, match=message):
            act(wrong)


def test_reset_starts_an_episode(model):
    predictor = StatefulPredictor(model)
    first, _ = predictor.predict(OBSERVATION, deterministic=True)
    second, _ = predictor.predict(OBSERVATION, deterministic=True)
    predictor.reset()
    again, _ = predictor.predict(OBSERVATION, deterministic=True)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)


def test_a_state_that_is_passed_is_taken(model):
    _, state = model.predict(OBSERVATION, None, np.ones(1), deterministic=True)
    expected, _ = model.predict(OBSERVATION, state, np.zeros(1), deterministic=True)
    action, _ = StatefulPredictor(model).predict(OBSERVATION, state, deterministic=True)
    np.testing.assert_array_equal(action, expected)


def test_batches_and_episode_starts_of_their_own():
    model = recurrent(RecurrentSAC)
    predictor, batch = StatefulPredictor(model), np.stack([OBSERVATION, OBSERVATION])
    predictor.predict(batch, deterministic=True)
    actions, _ = predictor.predict(batch, episode_start=np.array([True, False]), deterministic=True)
    fresh, _ = model.predict(batch, None, np.ones(2), deterministic=True)
    np.testing.assert_array_equal(actions[0], fresh[0])
    assert not np.array_equal(actions[1], fresh[1])


def test_a_model_that_does_not_remember_works_too():
    model = PPO("MlpPolicy", "Pendulum-v1", seed=0)
    action, state = StatefulPredictor(model).predict(OBSERVATION, deterministic=True)
    np.testing.assert_array_equal(action, model.predict(OBSERVATION, deterministic=True)[0])
    assert state is None


def test_everything_else_is_the_model_s_and_it_can_be_pickled():
    predictor = StatefulPredictor(recurrent(RecurrentSAC))
    assert predictor.action_space is predictor.model.action_space
    assert isinstance(
        cloudpickle.loads(cloudpickle.dumps(StatefulPredictor(PPO("MlpPolicy", "Pendulum-v1").policy))),
        StatefulPredictor,
    )


def test_masks_are_handed_on():
    for algorithm, policy in ((MaskablePPO, "MlpPolicy"), (RecurrentMaskablePPO, "LiquidPolicy")):
        predictor = StatefulPredictor(algorithm(policy, "CartPole-v1", n_steps=8, batch_size=8, seed=0))
        for only in (0, 1, 0):
            masks = np.arange(2) == only
            assert predictor.predict(np.zeros(4, dtype=np.float32), action_masks=masks)[0] == only
    with pytest.raises(ValueError, match="RecurrentSAC takes no action_masks: leave them out"):
        StatefulPredictor(recurrent(RecurrentSAC)).predict(OBSERVATION, action_masks=masks)


@pytest.mark.parametrize(("algorithm", "policy"), [(RecurrentPPO, "MlpLstmPolicy"), (RecurrentSAC, "LiquidPolicy")])
def test_a_batch_of_another_size_needs_a_reset(algorithm, policy):
    predictor = StatefulPredictor(algorithm(policy, "Pendulum-v1", seed=0))
    predictor.predict(OBSERVATION)
    with pytest.raises(ValueError, match=r"the state is for 1 environment.s., got 3 observation.s.: call reset"):
        predictor.predict(np.stack([OBSERVATION] * 3))
    predictor.predict(OBSERVATION)
    predictor.reset()
    assert predictor.predict(np.stack([OBSERVATION] * 3))[0].shape == (3, 1)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of SB3, which converts a tensor
@pytest.mark.parametrize("convert", [np.ndarray.tolist, torch.as_tensor], ids=["list", "tensor"])
def test_a_list_or_a_tensor_is_an_observation(model, convert):
    action, _ = StatefulPredictor(model).predict(convert(OBSERVATION), deterministic=True)
    np.testing.assert_array_equal(action, StatefulPredictor(model).predict(OBSERVATION, deterministic=True)[0])


def test_observations_are_normalized_on_request():
    env = VecNormalize(make_vec_env("PendulumNoVel-v1"))
    env.obs_rms.mean[:], env.obs_rms.var[:] = 0.5, 4.0
    model = RecurrentSAC("LiquidPolicy", env, buffer_size=64, seed=0)
    with pytest.warns(UserWarning, match="vec_normalize=model.get_vec_normalize_env"):
        as_given, _ = StatefulPredictor(model).predict(OBSERVATION, deterministic=True)
    np.testing.assert_array_equal(
        StatefulPredictor(model, vec_normalize=False).predict(OBSERVATION, deterministic=True)[0], as_given
    )
    expected, _ = model.predict(env.normalize_obs(OBSERVATION), None, np.ones(1), deterministic=True)
    for raw in (OBSERVATION, OBSERVATION.tolist()):
        action, _ = StatefulPredictor(model, vec_normalize=env).predict(raw, deterministic=True)
        np.testing.assert_array_equal(action, expected)
    assert not np.array_equal(as_given, expected)
    with pytest.raises(ValueError, match="ObservationStatistics, False or None, got True"):
        StatefulPredictor(model, vec_normalize=True)


def test_a_model_from_a_checkpoint_normalizes_by_its_statistics(tmp_path):
    env = VecNormalize(make_vec_env("PendulumNoVel-v1"))
    env.obs_rms.mean[:], env.obs_rms.var[:] = 0.5, 4.0
    model = RecurrentSAC("LiquidPolicy", env, buffer_size=64, seed=0)
    save_checkpoint(model, tmp_path / "saved")
    seen = env.normalize_obs(OBSERVATION)
    expected, _ = model.predict(seen, None, np.ones(1), deterministic=True)
    loaded = load_checkpoint(tmp_path / "saved")
    for predictor, observation in (
        (StatefulPredictor(loaded), OBSERVATION),
        (StatefulPredictor(loaded, vec_normalize=False), seen),
        (StatefulPredictor(loaded, vec_normalize=ObservationStatistics.of(env)), OBSERVATION),
    ):
        np.testing.assert_array_equal(predictor.predict(observation, deterministic=True)[0], expected)
    with pytest.warns(UserWarning, match="the model's environment normalizes observations"):
        StatefulPredictor(load_checkpoint(tmp_path / "saved", make_vec_env("PendulumNoVel-v1"))).predict(seen)


@pytest.mark.parametrize("inside", [True, False])
def test_rewards_may_be_normalized_apart(inside, tmp_path):
    def nested():
        made = VecNormalize(make_vec_env("PendulumNoVel-v1"), norm_obs=inside, norm_reward=not inside)
        return VecNormalize(made, norm_obs=not inside, norm_reward=inside)

    env = nested()
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=32, n_epochs=1, device="cpu").learn(64)
    save_checkpoint(model, tmp_path / "saved")
    normalizer = env.venv if inside else env
    expected, _ = model.predict(normalizer.normalize_obs(OBSERVATION), deterministic=True)
    loaded, in_env = load_checkpoint(tmp_path / "saved"), load_checkpoint(tmp_path / "saved", nested())
    for predictor in (
        StatefulPredictor(loaded),
        StatefulPredictor(model, vec_normalize=env),
        StatefulPredictor(in_env, vec_normalize=in_env.get_vec_normalize_env()),
    ):
        np.testing.assert_array_equal(predictor.predict(OBSERVATION, deterministic=True)[0], expected)
    for known in (loaded, model):
        np.testing.assert_array_equal(resolve_statistics(known, None).mean[""], normalizer.obs_rms.mean)
    with pytest.warns(UserWarning, match="the model's environment normalizes observations"):
        StatefulPredictor(model).predict(OBSERVATION)


def test_a_checkpoint_knows_that_observations_are_not_normalized(tmp_path):
    env = VecNormalize(make_vec_env("CartPole-v1"), norm_obs=False)
    save_checkpoint(PPO("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=1).learn(16), tmp_path / "saved")
    loaded = load_checkpoint(tmp_path / "saved")
    StatefulPredictor(loaded).predict(np.zeros(4, np.float32))
    assert resolve_statistics(loaded, None) is None


@pytest.mark.parametrize("under", [True, False])
def test_a_zip_file_of_a_model_that_was_trained_under_normalization(under, tmp_path):
    env = make_vec_env("CartPole-v1")
    model = PPO("MlpPolicy", VecNormalize(env) if under else env, n_steps=16, batch_size=16, n_epochs=1, device="cpu")
    model.learn(16).save(tmp_path / "model")
    for loaded in (PPO.load(tmp_path / "model"), PPO.load(tmp_path / "model", env=make_vec_env("CartPole-v1"))):
        warned = pytest.warns(UserWarning, match="trained under VecNormalize, but its zip") if under else nullcontext()
        with warned:
            StatefulPredictor(loaded).predict(np.zeros(4, np.float32))
        StatefulPredictor(loaded, vec_normalize=False).predict(np.zeros(4, np.float32))
        refused = pytest.raises(ValueError, match="vec_normalize=False if observations") if under else nullcontext()
        with refused:
            resolve_statistics(loaded, None)
        assert resolve_statistics(loaded, False) is None
