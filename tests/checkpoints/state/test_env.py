"""Environments go on in mid-episode, in another environment made like the first."""

import json
import re
from functools import partial

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import torch
from gymnasium import spaces, wrappers
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecCheckNan,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

from tests.checkpoints.runs import DictPendulum, Walk, assert_equal
from tests.finrl.markets import market
from velora_sb3.checkpoints.format.encoding import Decoder, Encoder
from velora_sb3.checkpoints.format.errors import CheckpointError
from velora_sb3.checkpoints.state.vec_env import capture_vec_env, restore_vec_env, vec_differences, wrapped_as_saved
from velora_sb3.envs import TimeDeltaObservation
from velora_sb3.finrl import StockTradingEnv

CLASSIC = ["CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1", "Acrobot-v1"]
TOY_TEXT = ["FrozenLake-v1", "CliffWalking-v1", "Taxi-v4", "Blackjack-v1"]
MUJOCO = [
    "Ant-v5", "HalfCheetah-v5", "Hopper-v5", "Humanoid-v5", "HumanoidStandup-v5", "InvertedDoublePendulum-v5",
    "InvertedPendulum-v5", "Pusher-v5", "Reacher-v5", "Swimmer-v5", "Walker2d-v5",
]  # fmt: skip


def actions(venv, steps, seed=0):
    space = venv.action_space
    space.seed(seed)
    return [np.array([space.sample() for _ in range(venv.num_envs)]) for _ in range(steps)]


def walk(venv, chosen):
    """What steps show, without times."""
    seen = []
    for action in chosen:
        observation, reward, done, infos = venv.step(action)
        for info in infos:
            info.get("episode", {}).pop("t", None)
        seen.append((observation, reward, done, list(infos)))
    return seen


def capture(venv):
    encoder = Encoder()
    return json.loads(json.dumps(capture_vec_env(venv, encoder, "envs"))), encoder.arrays


def restore(venv, described, arrays, with_episode=True):
    assert vec_differences(venv, described) is None
    restore_vec_env(venv, described, Decoder(arrays), "envs", with_episode)


def assert_goes_on(make, before=23, after=60):
    venv = make()
    venv.seed(5)
    venv.reset()
    walk(venv, actions(venv, before))
    described, arrays = capture(venv)
    assert described["lost"] is None
    arrays = {name: np.array(array) for name, array in arrays.items()}  # as a file would keep them
    chosen = actions(venv, after, seed=1)
    expected = walk(venv, chosen)
    other = make()
    restore(other, described, arrays)
    assert_equal(walk(other, chosen), expected)
    for one in (venv, other):
        one.close()


def one(env_id, limit=40):
    return lambda: DummyVecEnv([lambda: Monitor(gym.make(env_id, max_episode_steps=limit))])


@pytest.mark.parametrize("env_id", CLASSIC)
@pytest.mark.parametrize("before", [23, 40], ids=["in mid-episode", "at its end"])
def test_classic_control(env_id, before):
    assert_goes_on(one(env_id), before)


@pytest.mark.parametrize("env_id", TOY_TEXT)
@pytest.mark.parametrize("before", [1, 23])
def test_toy_text(env_id, before):
    def make():
        env = gym.make(env_id, max_episode_steps=40, **({"fickle_passenger": True} if env_id == "Taxi-v4" else {}))
        return DummyVecEnv([lambda: FlattenTuple(Monitor(env))])

    assert_goes_on(make, before)


class FlattenTuple(gym.ObservationWrapper):
    """Blackjack's three numbers, which SB3 does not take, as a vector; others as they are."""

    def __init__(self, env):
        super().__init__(env)
        if isinstance(env.observation_space, spaces.Tuple):
            self.observation_space = spaces.Box(0, 31, (3,), np.int64)

    def observation(self, observation):
        return np.array(observation)


@pytest.mark.parametrize("env_id", MUJOCO)
@pytest.mark.parametrize("before", [23, 40], ids=["in mid-episode", "at its end"])
def test_mujoco(env_id, before, tmp_path, monkeypatch):
    pytest.importorskip("mujoco")
    monkeypatch.chdir(tmp_path)  # where MuJoCo writes its warnings
    assert_goes_on(one(env_id), before)


@pytest.mark.parametrize("env_id", ["PendulumNoVel-v1", "CartPoleNoVel-v1"])
def test_ours(env_id):
    assert_goes_on(one(env_id))


def test_an_environment_that_tells_its_state():
    assert_goes_on(lambda: DummyVecEnv([Walk, Walk]))


@pytest.mark.parametrize("before", [0, 7, 30], ids=["at its start", "in mid-episode", "in the next"])
@pytest.mark.parametrize("timespans", [False, True])
def test_the_trading_environment(before, timespans):
    assert_goes_on(lambda: DummyVecEnv([lambda: market(20, timespans=timespans)]), before)


def test_the_records_of_trading_go_on():
    venv = started(DummyVecEnv([market]))
    described, arrays = capture(venv)
    other = DummyVecEnv([market])
    restore(other, described, arrays)
    for records in ("save_asset_memory", "save_action_memory"):
        pd.testing.assert_frame_equal(*(one.env_method(records)[0] for one in (venv, other)))


def test_trading_on_other_prices_starts_afresh():
    described, _ = capture(started(DummyVecEnv([market])))
    told = vec_differences(DummyVecEnv([lambda: market(seed=1)]), described)
    assert told == "the StockTradingEnv does not have the same data as the checkpoint's"


def test_a_user_s_trading_environment_may_have_more_state():
    class Mine(StockTradingEnv):
        pass

    def make():
        env = market()
        env.__class__ = Mine
        return env

    described, _ = capture(started(DummyVecEnv([make])))
    assert "Mine may have more state: give it its own get_state and set_state" in described["lost"]


class Dated(Walk):
    """Every observation has a date in ``info``."""

    def reset(self, **kwargs):
        return super().reset(**kwargs)[0], {"date": pd.Timestamp("2024-03-07", tz="America/New_York")}

    def step(self, action):
        *rest, info = super().step(action)
        date = pd.Timestamp("2024-03-07", tz="America/New_York") + pd.Timedelta(hours=self.steps**2)
        return *rest, {**info, "date": date}


def test_times_between_dates():
    assert_goes_on(lambda: DummyVecEnv([lambda: TimeDeltaObservation(Dated(), timestamp_key="date", unit="1h")]))


class Sticky(gym.Wrapper):
    """A user's wrapper: plain attributes and a generator of its own."""

    def __init__(self, env):
        super().__init__(env)
        self.random, self.last, self.history = np.random.default_rng(3), None, []
        self.how = np.clip  # a function is no state

    def step(self, action):
        if self.last is not None and self.random.random() < 0.5:
            action = self.last
        self.last = action
        self.history = [*self.history[-3:], float(np.sum(action))]
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward + sum(self.history), terminated, truncated, info


WRAPPERS = {
    "a user's": Sticky,
    "another user's": DictPendulum,
    "stacked frames": lambda env: wrappers.FrameStackObservation(env, 3),
    "delayed observations": lambda env: wrappers.DelayObservation(env, 2),
    "time in the observation": wrappers.TimeAwareObservation,
    "sticky actions": lambda env: wrappers.StickyAction(env, 0.5),
    "normalized": lambda env: wrappers.NormalizeReward(wrappers.NormalizeObservation(env)),
    "statistics": wrappers.RecordEpisodeStatistics,
    "rescaled": lambda env: wrappers.RescaleAction(env, -1, 1),
    "transformed": lambda env: wrappers.TransformReward(env, lambda reward: 2 * reward),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers(name):
    def make():
        return DummyVecEnv([lambda: WRAPPERS[name](gym.make("Pendulum-v1", max_episode_steps=40))])

    if name == "statistics":  # its times are those of the machine
        described, _ = capture(started(make()))
        assert described["lost"] is None
    else:
        assert_goes_on(make)


def started(venv, steps=7):
    venv.seed(2)
    venv.reset()
    walk(venv, actions(venv, steps))
    return venv


def two():
    return DummyVecEnv([partial(gym.make, "Pendulum-v1", max_episode_steps=limit) for limit in (30, 17)])


VEC_WRAPPERS = {
    "normalized": lambda: VecNormalize(two()),
    "stacked": lambda: VecFrameStack(two(), 3),
    "stacked Dict": lambda: VecFrameStack(DummyVecEnv([lambda: DictPendulum(gym.make("Pendulum-v1"))]), 2),
    "checked": lambda: VecCheckNan(two()),
    "all": lambda: VecNormalize(VecFrameStack(two(), 2)),
}


@pytest.mark.parametrize("name", VEC_WRAPPERS)
def test_wrappers_of_vectorized_environments(name):
    assert_goes_on(VEC_WRAPPERS[name])


def test_vec_monitor_goes_on_counting():
    venv = started(VecMonitor(two()))
    described, arrays = capture(venv)
    other = VecMonitor(two())
    restore(other, described, arrays)
    np.testing.assert_array_equal(other.episode_returns, venv.episode_returns)
    np.testing.assert_array_equal(other.episode_lengths, 7)


def test_environments_in_processes_of_their_own():
    functions = [
        lambda: Monitor(gym.make("Pendulum-v1", max_episode_steps=30)),
        lambda: Sticky(gym.make("Pendulum-v1")),
    ]
    assert_goes_on(lambda: SubprocVecEnv(functions), before=9, after=30)


def test_a_bare_environment_in_a_process_starts_afresh():
    venv = SubprocVecEnv([Walk])
    venv.reset()
    described, _ = capture(venv)
    venv.close()
    assert "Monitor" in described["lost"]


def two_processes():
    functions = [lambda: Monitor(gym.make("Pendulum-v1"))] * 2
    return started(SubprocVecEnv(functions, start_method="fork"), 3)


def test_environments_that_are_closed_are_left_out():
    venv = two_processes()
    venv.close()
    described, arrays = capture(venv)
    assert described["lost"].startswith("the environments are closed")
    restore(two(), described, arrays, with_episode=False)  # nothing to restore


def test_environments_whose_process_has_ended_are_left_out():
    venv = two_processes()
    venv.processes[1].kill()
    venv.processes[1].join()
    described, _ = capture(venv)
    assert described["lost"] == "the worker process of environment 1 has ended"


def test_a_process_that_ends_when_it_is_asked():
    venv = two_processes()
    venv.processes[1].is_alive = lambda: True
    venv.processes[1].kill()
    described, _ = capture(venv)
    assert re.search(r"SubprocVecEnv cannot be asked .*(EOF|BrokenPipe|ConnectionReset)Error", described["lost"])


def test_the_answer_to_a_step_that_was_interrupted_is_not_taken_for_a_state():
    venv = two_processes()
    venv.step_async(np.zeros((2, 1)))
    described, _ = capture(venv)
    assert "a step of the environments was interrupted" in described["lost"]
    venv.waiting = False  # as if the call had been another one
    described, _ = capture(venv)
    assert "an earlier call to the environments was interrupted" in described["lost"]
    for process in venv.processes:
        process.kill()


class Duck:
    """As SuperSuit's: what SB3 calls, and no more."""

    def __init__(self):
        self.venv = two()
        for name in ("num_envs", "observation_space", "action_space", "render_mode"):
            setattr(self, name, getattr(self.venv, name))
        for name in ("reset", "step_async", "step_wait", "close", "env_is_wrapped", "get_attr"):
            setattr(self, name, getattr(self.venv, name))


def test_what_only_resembles_sb3_s_vectorized_environments_starts_afresh():
    described, arrays = capture(started(two()))
    assert "Duck gives no access" in vec_differences(VecMonitor(Duck()).venv, {**described, "wrappers": []})
    venv = VecMonitor(Duck())
    venv.reset()
    walk(venv, actions(venv, 3))
    described, arrays = capture(venv)
    assert described["lost"].startswith("Duck gives no access to the state")
    other = VecMonitor(Duck())
    restore(other, described, arrays, with_episode=False)
    other.reset()
    walk(other, actions(other, 3))


class Silent(gym.Env):
    """Tells nothing."""

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.uniform(-1, 1, 1).astype(np.float32), {}

    def step(self, action):
        return self.np_random.uniform(-1, 1, 1).astype(np.float32), 0.0, False, False, {}


class Opaque(Walk):
    """Tells what cannot be stored."""

    def get_state(self):
        return {"thing": object()}


class Failing(Walk):
    """Cannot tell."""

    def get_state(self):
        raise RuntimeError("not now")


class Learning(gym.Wrapper):
    """A wrapper with a network, which can be called but is no function."""

    def __init__(self, env):
        super().__init__(env)
        self.network = torch.nn.Linear(2, 2)


class Holding(gym.Wrapper):
    """A wrapper with something that cannot be stored."""

    def __init__(self, env):
        super().__init__(env)
        self.thing = object()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (Silent, r"Silent does not expose its state: give Silent the methods get_state\(\)"),
        (Failing, "not now"),
        (lambda: Holding(Walk()), r"thing.* \(of type object\)"),
        (lambda: Learning(Walk()), r"network.* \(of type Linear\)"),
    ],
)
def test_where_the_episode_cannot_go_on_the_checkpoint_says_why(make, told):
    described, arrays = capture(started(DummyVecEnv([make])))
    assert re.search(told, described["lost"])
    other = DummyVecEnv([make])
    restore(other, described, arrays, with_episode=False)  # random states do go on


def test_the_next_episode_draws_as_it_would_have():
    venv = started(DummyVecEnv([Silent]))
    described, arrays = capture(venv)
    other = DummyVecEnv([Silent])
    other.seed(5)  # as SB3 does when it builds a model with a seed
    restore(other, described, arrays, with_episode=False)
    np.testing.assert_array_equal(other.reset(), venv.reset())


def test_statistics_survive_the_episode():
    def make():
        return wrappers.NormalizeReward(wrappers.NormalizeObservation(Silent()))

    venv = started(DummyVecEnv([make]))
    described, arrays = capture(venv)
    other = DummyVecEnv([make])
    restore(other, described, arrays, with_episode=False)
    learned = [(one.envs[0].env.obs_rms, one.envs[0].return_rms) for one in (venv, other)]
    assert_equal(*([vars(part) for part in parts] for parts in learned))
    assert learned[1][0].count > 1


@pytest.mark.parametrize("kind", [DummyVecEnv, SubprocVecEnv])
def test_what_get_state_returns_must_be_plain_data(kind):
    venv = kind([lambda: Monitor(Opaque())])
    venv.reset()
    with pytest.raises(CheckpointError, match=r"\['thing'\] \(of type object\) is not plain data: give Opaque"):
        capture(venv)
    venv.close()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: DummyVecEnv([Walk]), "the environment is Walk, the checkpoint's was Monitor of TimeLimit"),
        (one("MountainCar-v0"), "MountainCarEnv, the checkpoint's was"),
        (lambda: VecNormalize(one("CartPole-v1")()), "wrapped in"),
    ],
)
def test_other_environments_are_told_apart(make, told):
    described, _ = capture(started(one("CartPole-v1")()))
    assert told in vec_differences(make(), described)


def test_an_environment_of_another_id_is_told_apart():
    described, _ = capture(started(one("CartPole-v1")()))
    described["envs"][0]["id"] = "Other-v1"
    told = vec_differences(one("CartPole-v1")(), described)
    assert told == "the environment is CartPole-v1, the checkpoint's was Other-v1"


def test_normalization_is_put_around_environments_that_lack_it():
    described, arrays = capture(started(VecNormalize(two(), clip_obs=3.0, norm_reward=False)))
    wrapped = wrapped_as_saved(two(), described, Decoder(arrays))
    assert isinstance(wrapped, VecNormalize) and wrapped.clip_obs == 3.0 and not wrapped.norm_reward
    nested, arrays = capture(started(VecNormalize(VecNormalize(two(), norm_reward=False), norm_obs=False)))
    for lacking in (two(), VecNormalize(two(), norm_reward=False)):
        wrapped = wrapped_as_saved(lacking, nested, Decoder(arrays))
        assert [(one.norm_obs, one.norm_reward) for one in (wrapped, wrapped.venv)] == [(False, True), (True, False)]
        assert wrapped.unwrapped is lacking.unwrapped
    already = VecNormalize(two())
    assert wrapped_as_saved(already, described, Decoder(arrays)) is already


class Own(VecEnvWrapper):
    """A user's wrapper of vectorized environments."""

    def reset(self):
        self.total = np.zeros(self.num_envs)
        return self.venv.reset()

    def step_wait(self):
        observations, rewards, dones, infos = self.venv.step_wait()
        self.total = self.total + rewards
        return observations, self.total.copy(), dones, infos


class Telling(Own):
    """The same, telling its state."""

    def get_state(self):
        return self.total

    def set_state(self, state):
        self.total = state


def test_a_user_s_wrapper_of_vectorized_environments_must_tell_its_state():
    assert_goes_on(lambda: Telling(two()))
    described, _ = capture(started(Own(two())))
    assert described["lost"].startswith("Own does not expose its state")


class Asking(Own):
    """One that asks its environments."""

    def get_state(self):
        raise EOFError

    def set_state(self, state):
        pass


def test_a_wrapper_that_asks_environments_that_are_gone():
    described, _ = capture(started(Asking(two())))
    assert described["lost"] == "Asking: EOFError()"


def test_names_that_are_no_state_are_refused():
    described, arrays = capture(started(one("CartPole-v1")()))
    described["envs"][0]["layers"][1]["state"]["attributes"]["step"] = 3
    with pytest.raises(CheckpointError, match="'step' of TimeLimit, which is not part of its state"):
        restore(one("CartPole-v1")(), described, arrays)
