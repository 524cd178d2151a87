import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import FrameStackObservation, TimeLimit, TransformObservation
from stable_baselines3.common import env_checker

from tests.envs.clock import ClockEnv, act, spans
from velora_sb3.envs import IrregularSampling, TimeDeltaObservation

FOUR = [0.25] * 4


def test_regular_unless_asked_otherwise():
    env, plain = IrregularSampling(ClockEnv()), TimeDeltaObservation(ClockEnv())
    env.reset(seed=0)
    plain.reset(seed=0)
    for _ in range(5):
        (ours, *rest), (theirs, *as_theirs) = act(env), act(plain)
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours)
        assert rest == as_theirs


@pytest.mark.parametrize("arguments", [{"hold_probabilities": FOUR}, {"drop_probability": 0.6}], ids=str)
def test_timespans_count_the_steps_whose_rewards_are_summed_while_the_action_is_held(arguments):
    env = IrregularSampling(ClockEnv(), **arguments)
    env.reset(seed=0)
    before = 0
    for action in np.linspace(-1, 1, 30, dtype=np.float32):
        observation, reward, *_ = act(env, action)
        now, held, _ = observation["observation"]
        assert observation["timespans"] == now - before
        assert reward == sum(range(int(before) + 1, int(now) + 1))  # the n-th step is worth n
        assert held == action
        before = now
    assert before > 45


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"hold_probabilities": [0.5, 0, 0.5]}, {1: 0.5, 3: 0.5}),
        ({"drop_probability": 0.2}, {steps: 0.8 * 0.2 ** (steps - 1) for steps in range(1, 5)}),
        ({"drop_probability": 0.6}, {steps: 0.4 * 0.6 ** (steps - 1) for steps in range(1, 9)}),
        ({"hold_probabilities": [0, 1], "drop_probability": 0.5}, {2 * n: 0.5**n for n in range(1, 5)}),
    ],
    ids=str,
)
def test_how_often_each_timespan_comes(arguments, expected):
    env = IrregularSampling(ClockEnv(length=10**6), **arguments)
    seen = np.array(spans(env, 4000)[1:])
    for steps, share in expected.items():
        assert np.mean(seen == steps) == pytest.approx(share, abs=5 * np.sqrt(share / 4000))
    assert np.isin(seen, list(expected)).mean() == pytest.approx(sum(expected.values()), abs=0.02)


def test_a_seed_gives_the_same_episode_again_and_another_one_does_not():
    env = IrregularSampling(ClockEnv(), FOUR, drop_probability=0.3)
    first = spans(env, 20)
    assert spans(env, 20) == first == spans(IrregularSampling(ClockEnv(), FOUR, drop_probability=0.3), 20)
    env.reset(seed=1)
    assert [act(env)[0]["timespans"].item() for _ in range(20)] != first[1:]


def test_a_reset_without_a_seed_goes_on_with_the_random_numbers():
    env = IrregularSampling(ClockEnv(), FOUR)
    first = spans(env, 20)
    env.reset()
    assert [act(env)[0]["timespans"].item() for _ in range(20)] != first[1:]


def test_the_environment_draws_the_same_numbers_with_and_without_it():
    env, plain = IrregularSampling(ClockEnv(), FOUR, drop_probability=0.3), ClockEnv()
    env.reset(seed=5)
    drawn = [plain.reset(seed=5)[0][2]] + [act(plain)[0][2] for _ in range(100)]
    for _ in range(10):
        steps, _, number = act(env)[0]["observation"]
        assert number == drawn[int(steps)]


@pytest.mark.parametrize("limited", [False, True], ids=["terminated", "truncated"])
def test_an_end_in_the_middle_of_a_hold_is_told_at_once(limited):
    inner = TimeLimit(ClockEnv(), 5) if limited else ClockEnv(length=5)
    env = IrregularSampling(inner, [0, 0, 1], drop_probability=0.9)
    for _ in range(5):
        env.reset()
        done, total = False, 0.0
        while not done:
            observation, reward, terminated, truncated, _ = act(env)
            done, total = terminated or truncated, total + reward
        assert (terminated, truncated) == (not limited, limited)
        assert observation["observation"][0] == 5  # a time limit counts the environment's steps
        assert total == 15


def test_the_environment_s_own_timespans_are_summed():
    times = ["2024-03-07", "2024-03-08", "2024-03-11", "2024-03-12", "2024-03-13"]
    clock = ClockEnv(infos=[{"date": date} for date in times])
    env = IrregularSampling(TimeDeltaObservation(clock, timestamp_key="date", unit="1D"), [0, 1])
    assert spans(env, 2) == [1.0, 4.0, 2.0]


def test_timespans_may_come_as_a_list():
    as_list = TransformObservation(TimeDeltaObservation(ClockEnv()), lambda seen: {**seen, "timespans": [2.0]}, None)
    assert spans(IrregularSampling(as_list, [0, 1]), 2) == [2.0, 4.0, 4.0]


def test_another_key():
    env = IrregularSampling(ClockEnv(), [0, 1], timespans_key="age")
    env.reset(seed=0)
    assert act(env)[0]["age"] == [2.0]


@pytest.mark.parametrize("wrapped", [ClockEnv, lambda: gym.make("CartPole-v1")], ids=["box", "CartPole"])
@pytest.mark.filterwarnings("ignore:.*(different from the unwrapped|infinity|render modes|`spec`)")
def test_the_checkers_of_gymnasium_and_sb3_pass(wrapped):
    arguments = {"hold_probabilities": [0.5, 0.5], "drop_probability": 0.2}
    check_env(IrregularSampling(wrapped(), **arguments))
    env_checker.check_env(IrregularSampling(wrapped(), **arguments))


def test_the_spec_makes_it_again():
    env = IrregularSampling(gym.make("Pendulum-v1"), np.array(FOUR), drop_probability=0.2)
    again = gym.make(env.spec)
    first, second = ([made.reset(seed=0)[0]] + [act(made)[0] for _ in range(10)] for made in (env, again))
    assert all(
        np.array_equal(ours[key], theirs[key]) for ours, theirs in zip(first, second, strict=True) for key in ours
    )
    assert again.spec.max_episode_steps == 200


def test_it_renders_what_is_there_now():
    env = IrregularSampling(ClockEnv(render_mode="rgb_array"), [0, 0, 1])
    env.reset(seed=0)
    act(env)
    assert env.render_mode == "rgb_array"
    assert np.all(env.render() == 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hold_probabilities": (1, 4)}, r"must add up to 1, got \[1.0, 4.0\]"),
        ({"hold_probabilities": 0.5}, r"must be a sequence such as \[0.5, 0.5\], got 0.5"),
        ({"hold_probabilities": []}, r"must add up to 1, got \[\]"),
        (
            {"hold_probabilities": [1.5, -0.5]},
            "each of hold_probabilities must be a finite number at least 0, got -0.5",
        ),
        ({"drop_probability": 1.0}, "drop_probability must be a finite number at least 0 and below 1, got 1.0"),
        ({"drop_probability": -0.1}, "drop_probability must be a finite number at least 0 and below 1"),
    ],
)
def test_what_is_no_probability_is_explained(arguments, message):
    with pytest.raises(ValueError, match=message):
        IrregularSampling(ClockEnv(), **arguments)


def test_a_frame_stack_belongs_around_it():
    with pytest.raises(ValueError, match="apply IrregularSampling before the frame stack"):
        IrregularSampling(FrameStackObservation(TimeDeltaObservation(ClockEnv()), 3))


def test_summed_timespans_are_within_the_space_also_if_single_ones_are_bounded_or_whole():
    class Timed(gym.Wrapper):
        def __init__(self, env):
            super().__init__(env)
            entries = {"clock": env.observation_space, "timespans": gym.spaces.Box(0, 1, (1,), np.int64)}
            self.observation_space = gym.spaces.Dict(entries)

        def timed(self, observation):
            return {"clock": observation, "timespans": np.ones(1, np.int64)}

        def reset(self, **kwargs):
            observation, info = self.env.reset(**kwargs)
            return self.timed(observation), info

        def step(self, action):
            observation, *rest = self.env.step(action)
            return self.timed(observation), *rest

    env = IrregularSampling(Timed(ClockEnv()), [0, 0, 1])
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    observation, *_ = act(env)
    assert observation["timespans"] == 3
    assert env.observation_space.contains(observation)
