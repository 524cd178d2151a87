import numpy as np
import pytest
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from stable_baselines3 import A2C, PPO

from tests.export.models import CHOICE, DICT, MODELS, TIMED, build, liquid
from velora_sb3 import RecurrentSAC, StatefulPredictor
from velora_sb3.export import OnnxPolicy, export_onnx

pytestmark = pytest.mark.usefixtures("few_steps")


@pytest.fixture
def policy(tmp_path):
    return OnnxPolicy(export_onnx(build(RecurrentSAC, **liquid()), tmp_path / "policy"))


OBSERVATION = np.array([0.1, -0.2, 0.5], np.float32)


def test_the_state_is_kept_until_reset(policy):
    first, second = policy.predict(OBSERVATION), policy.predict(OBSERVATION)
    assert first.shape == (2,)
    assert policy.state.shape == (1, 18)  # eight units, eight of the LSTM, two of the previous action
    assert not np.array_equal(first, second)
    policy.reset()
    np.testing.assert_array_equal(policy.predict(OBSERVATION.tolist()), first)
    np.testing.assert_array_equal(policy.predict(OBSERVATION, episode_start=[True]), first)


def test_a_nan_in_the_observation_is_refused_and_leaves_the_state(policy):
    policy.predict(OBSERVATION)
    before = policy.state.copy()
    for bad in (np.full(3, np.nan), np.array([0.1, np.nan, 0.5])):
        with pytest.raises(ValueError, match="the action is NaN: check the observation"):
            policy.predict(bad)
    np.testing.assert_array_equal(policy.state, before)
    policy.reset()
    with pytest.raises(ValueError, match="the action is NaN"):
        policy.predict(np.stack([OBSERVATION, np.full(3, np.nan)]))
    assert policy.state is None


def test_a_nan_in_the_state_ends_with_the_episode(policy):
    first = policy.predict(OBSERVATION)
    policy._state = np.full_like(policy.state, np.nan)
    with pytest.raises(ValueError, match="the action is NaN"):
        policy.predict(OBSERVATION)
    np.testing.assert_array_equal(policy.predict(OBSERVATION, episode_start=[True]), first)


def test_a_batch_of_another_size_needs_a_reset(policy):
    policy.predict(OBSERVATION)
    with pytest.raises(ValueError, match=r"the state is for 1 environment.s., got 3 observation.s.: call reset"):
        policy.predict(np.stack([OBSERVATION] * 3))
    policy.reset()
    assert policy.predict(np.stack([OBSERVATION] * 3)).shape == (3, 2)


def test_observations_that_do_not_fit(policy, tmp_path):
    with pytest.raises(ValueError, match=r"observation must have shape \(3,\), or one dimension more, got \(4,\)"):
        policy.predict(np.zeros(4))
    with pytest.raises(ValueError, match=r"must be numbers of shape \(3,\)"):
        policy.predict({"observation": OBSERVATION})
    with pytest.raises(ValueError, match="takes no action_masks"):
        policy.predict(OBSERVATION, action_masks=[True])
    other = OnnxPolicy(export_onnx(build(A2C, "MultiInputPolicy", DICT), tmp_path / "dict"))
    with pytest.raises(ValueError, match=r"must be a dict of \['a', 'b', 'counts', 'levels', 'switches'\]: KeyError"):
        other.predict({"a": 1})
    assert other.predict(DICT.sample()).shape == (2,)
    mixed = {**{key: np.stack([value, value]) for key, value in DICT.sample().items()}, "b": np.zeros((3, 2, 2))}
    with pytest.raises(ValueError, match=r"observation.b holds 3 observation"):
        other.predict(mixed)


@pytest.mark.parametrize("timespan", [-1.0, float("nan"), float("inf")])
def test_timespans_that_the_model_refuses(timespan, tmp_path):
    policy = OnnxPolicy(export_onnx(MODELS["RecurrentSAC, timespans"](), tmp_path / "timed"))
    shapes = {entry["key"]: entry["shape"][1:] for entry in policy.contract["inputs"] if "key" in entry}
    observation = {key: np.ones(shape, np.float32) for key, shape in shapes.items()}
    policy.predict(observation)
    with pytest.raises(ValueError, match=r"timespans must be finite and not negative, got"):
        policy.predict({**observation, "timespans": np.full(shapes["timespans"], timespan)})


def test_masks(tmp_path):
    policy = OnnxPolicy(export_onnx(build(MaskablePPO, "MlpPolicy", actions=CHOICE), tmp_path / "policy"))
    for only in range(4):
        assert policy.predict(OBSERVATION, action_masks=np.arange(4) == only) == only
    assert policy.predict(OBSERVATION) in range(4)
    with pytest.raises(ValueError, match=r"action_masks must have shape \(1, 4\), got \(3,\)"):
        policy.predict(OBSERVATION, action_masks=[True] * 3)
    with pytest.raises(ValueError, match=r"action_masks must have shape \(2, 4\), got \(4, 2\)"):
        policy.predict(np.stack([OBSERVATION] * 2), action_masks=np.ones((4, 2)))


@pytest.mark.parametrize(
    ("space", "known", "wrong"),
    [(spaces.Discrete(3), 2, 3), (spaces.Discrete(3), 0, -1), (spaces.MultiDiscrete([2, 3]), [1, 2], [2, 0])],
)
def test_choices_that_the_model_refuses(space, known, wrong, tmp_path):
    model = build(PPO, observations=space, **liquid())
    policy = OnnxPolicy(export_onnx(model, tmp_path / "policy", deterministic=np.bool_(True)))
    np.testing.assert_allclose(policy.predict(known), model.predict(known, deterministic=True)[0], atol=1e-5)
    with pytest.raises(ValueError, match="observation must be from 0 to below"):
        policy.predict(wrong)


def test_episode_starts_of_another_batch(policy):
    two = np.stack([OBSERVATION] * 2)
    with pytest.raises(ValueError, match="episode_start must have one value for each of 2 observation"):
        policy.predict(two, episode_start=[True])
    assert policy.predict(two, episode_start=[True, True]).shape == (2, 2)  # as if nothing had been


def test_it_acts_as_a_stateful_predictor(tmp_path):
    model = build(RecurrentSAC, observations=TIMED, **liquid())
    policy, predictor = OnnxPolicy(export_onnx(model, tmp_path / "policy")), StatefulPredictor(model)
    for _ in range(3):
        observation = {"observation": TIMED["observation"].sample(), "timespans": np.array([0.7], np.float32)}
        expected, _ = predictor.predict(observation, deterministic=True)
        np.testing.assert_allclose(policy.predict(observation), expected, atol=1e-5)


def test_a_folder_that_is_none(policy, tmp_path):
    with pytest.raises(ValueError, match="holds no policy in ONNX"):
        OnnxPolicy(tmp_path)
    file = tmp_path / "policy" / "policy.onnx"
    file.write_bytes(file.read_bytes() + b"0")
    with pytest.raises(ValueError, match=r"policy.onnx is not the file that policy.json describes: export it again"):
        OnnxPolicy(tmp_path / "policy")
