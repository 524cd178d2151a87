import csv
import json

import gymnasium as gym
import numpy as np
import pytest
from sb3_contrib import ARS
from stable_baselines3 import DDPG, PPO
from stable_baselines3.common.callbacks import (
    CallbackList,
    EvalCallback,
    EveryNTimesteps,
    StopTrainingOnRewardThreshold,
)
from stable_baselines3.common.logger import configure

from tests.callbacks.runs import ALGORITHMS, Listener, make_env, make_model
from velora_sb3.callbacks import EarlyStopping


class Script(gym.Wrapper):
    """Episodes of one step each, with the returns given; the last one goes on for ever."""

    def __init__(self, env, returns):
        super().__init__(env)
        self.returns = list(returns)

    def step(self, action):
        observation, *_ = self.env.step(action)
        reward = self.returns.pop(0) if len(self.returns) > 1 else self.returns[0]
        return observation, float(reward), True, False, {}


def scripted(tmp_path, returns, algorithm=PPO):
    env = make_env(tmp_path, algorithm)
    env.envs[0] = Script(env.envs[0], returns)
    return make_model(algorithm, env)


def evaluation(tmp_path, rewards, **children):
    env = make_env(tmp_path)
    env.envs[0] = Script(env.envs[0], rewards)
    return EvalCallback(env, eval_freq=4, n_eval_episodes=1, verbose=0, warn=False, **children)


@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_stops_every_algorithm(algorithm, n_envs, tmp_path):
    stop = EarlyStopping(4.0, patience=2 * n_envs)
    model = make_model(algorithm, make_env(tmp_path, algorithm, n_envs, reward=1.0, length=4))
    model.learn(200, callback=stop)
    assert stop.stopped_early
    assert model.num_timesteps == 8 * n_envs
    assert stop.reward == 4.0
    assert stop.reason == (
        f"the return reached 4 ({2 * n_envs} times in a row): 4 in episode {2 * n_envs}, at timestep {8 * n_envs}"
    )


def test_it_does_not_stop_below_the_target(tmp_path):
    stop = EarlyStopping(4.5)
    model = make_model(PPO, make_env(tmp_path, reward=1.0, length=4))
    model.learn(64, callback=stop)
    assert model.num_timesteps == 64
    assert (stop.stopped_early, stop.reason, stop.reward) == (False, None, 4.0)


@pytest.mark.parametrize(
    ("returns", "patience", "stops_at"),
    [
        ([9, 0, 9, 9, 0, 9, 9, 9], 3, 8),  # in a row
        ([0, 5, 0], 1, 2),  # the target itself counts
        ([9, 0, 9, 0, 0], 2, None),  # lucky episodes
        ([9, float("nan"), 9, 9, 0], 2, 4),
    ],
)
def test_patience(tmp_path, returns, patience, stops_at):
    stop, model = EarlyStopping(5.0, patience=patience), scripted(tmp_path, returns)
    model.learn(32, callback=stop)
    assert stop.stopped_early == (stops_at is not None)
    assert model.num_timesteps == (stops_at or 32)


def test_window(tmp_path):
    # Means of three: 6, 3, 4, 5, 6.
    stop, model = EarlyStopping(5.0, patience=2, window=3), scripted(tmp_path, [9, 0, 9, 0, 3, 12, 3, 0])
    model.learn(32, callback=stop)
    assert model.num_timesteps == 7
    assert stop.reward == 6.0


def test_the_reward_is_the_environments_own_under_normalization(tmp_path):
    env = make_env(tmp_path, n_envs=2, reward=25.0, length=4, normalize=True)
    stop, model = EarlyStopping(100.0, patience=1), make_model(PPO, env)
    model.learn(64, callback=stop)
    assert (stop.reward, model.num_timesteps) == (100.0, 8)


def test_a_stop_is_logged(tmp_path):
    model = scripted(tmp_path, [0, 7])
    model.set_logger(configure(str(tmp_path / "log"), ["csv"]))
    model.learn(32, callback=EarlyStopping(5.0, patience=2))
    model.logger.close()
    with (tmp_path / "log" / "progress.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["early_stopping/reward"]) == 7.0
    assert int(rows[-1]["early_stopping/timesteps"]) == 3


def test_it_says_what_it_does(tmp_path, capsys):
    scripted(tmp_path, [7]).learn(32, callback=EarlyStopping(5.0, patience=1, window=2, verbose=1))
    assert capsys.readouterr().out.splitlines() == [
        "EarlyStopping: stops when the mean return over 2 episodes reaches 5 once",
        "EarlyStopping: the return reached 5 once: 7 in episode 2, at timestep 2",
    ]


def test_in_an_evaluation_it_judges_evaluations(tmp_path):
    (tmp_path / "evaluation").mkdir()
    stop = EarlyStopping(5.0, patience=2)
    callback = evaluation(tmp_path / "evaluation", [9, 0, 9, 9, 9], callback_after_eval=stop)
    model = scripted(tmp_path, [100])  # training is far better: it does not count
    model.learn(64, callback=callback)
    assert model.num_timesteps == 16
    assert stop.reason == "the return reached 5 (2 times in a row): 9 in the evaluation, at timestep 16"


def test_one_lucky_evaluation_does_not_stop_as_sb3s_would(tmp_path):
    (tmp_path / "evaluation").mkdir()
    for stop, steps in ((EarlyStopping(5.0, patience=2), 32), (StopTrainingOnRewardThreshold(5.0), 4)):
        callback = evaluation(tmp_path / "evaluation", [9, 0], callback_after_eval=stop)
        model = scripted(tmp_path, [0])
        model.learn(32, callback=callback)
        assert model.num_timesteps == steps


def test_as_callback_on_new_best_it_judges_those_evaluations_that_were_the_best(tmp_path):
    (tmp_path / "evaluation").mkdir()
    stop = EarlyStopping(5.0, patience=2)
    callback = evaluation(tmp_path / "evaluation", [6, 0, 0, 7, 8], callback_on_new_best=stop)
    model = scripted(tmp_path, [0])
    model.learn(64, callback=callback)
    assert (stop.reward, model.num_timesteps) == (7.0, 16)


@pytest.mark.parametrize("stop_first", [True, False])
def test_in_a_list_in_an_evaluation(tmp_path, stop_first):
    (tmp_path / "evaluation").mkdir()
    stop, other = EarlyStopping(5.0, patience=2), Listener()
    children = CallbackList([stop, other] if stop_first else [other, stop])
    model = scripted(tmp_path, [0])
    model.learn(64, callback=evaluation(tmp_path / "evaluation", [9], callback_after_eval=children))
    assert model.num_timesteps == 8
    assert other.told.count("step") == 2


def test_in_an_event_it_judges_the_episodes_since(tmp_path):
    stop, model = EarlyStopping(5.0, patience=2), scripted(tmp_path, [0, 9, 9, 0])
    model.learn(64, callback=EveryNTimesteps(10, stop))
    assert model.num_timesteps == 10
    assert "in episode 3" in stop.reason


def test_a_second_run_starts_anew(tmp_path):
    stop, model = EarlyStopping(5.0, patience=3, window=2), scripted(tmp_path, [9])
    for _ in range(2):
        model.learn(32, callback=stop)
        assert (stop.stopped_early, model.num_timesteps) == (True, 4)


def test_learning_on_after_a_stop_judges_anew(tmp_path):
    stop, model = EarlyStopping(5.0, patience=3), scripted(tmp_path, [9, 9, 9, 0, 0, 9])
    model.learn(32, callback=stop)
    assert model.num_timesteps == 3
    model.learn(32, callback=stop, reset_num_timesteps=False)
    assert model.num_timesteps == 8


def test_learning_on_without_a_stop_goes_on_counting(tmp_path):
    stop, model = EarlyStopping(5.0, patience=20), scripted(tmp_path, [9])
    model.learn(16, callback=stop)
    assert not stop.stopped_early
    model.learn(16, callback=stop, reset_num_timesteps=False)
    assert model.num_timesteps == 20


def test_a_run_in_two_halves_stops_where_a_whole_one_does(tmp_path):
    returns = [*[0, 9, 3] * 5, 9, 9, 9, 0, 0, 9]  # the window and the row stand across step 16

    def run(*calls):
        model, state = scripted(tmp_path, returns), None
        for steps in calls:
            stop = EarlyStopping(5.0, patience=3, window=2)
            if state is not None:
                stop.load_state_dict(json.loads(json.dumps(state)))
            model.learn(steps, callback=stop, reset_num_timesteps=state is None)
            state = stop.state_dict()
        return state, model.num_timesteps

    whole, halves = run(48), run(16, 32)
    assert whole == halves
    assert whole[0]["stopped_early"]
    assert whole[1] == 17


def test_ars_cannot_be_stopped_and_says_so(tmp_path):
    model = ARS("LinearPolicy", make_env(tmp_path, reward=1.0, length=4), n_delta=1, n_eval_episodes=1, seed=0)
    stop = EarlyStopping(4.0, patience=2)
    with pytest.warns(UserWarning, match="ARS cannot be stopped by a callback"):
        model.learn(40, callback=stop)
    assert model.num_timesteps >= 40
    assert not stop.stopped_early
    assert "in episode 2" in stop.reason


@pytest.mark.parametrize("target", [float("nan"), float("inf"), "200", None, True])
def test_a_bad_target(target):
    with pytest.raises(ValueError, match="target must be a finite number, got"):
        EarlyStopping(target)


@pytest.mark.parametrize("target", [200, -1.5, np.float32(3.0), np.int64(3)])
def test_numbers_of_every_kind(target):
    assert EarlyStopping(target).config() == ("EarlyStopping", {"target": float(target), "patience": 3, "window": 1})


@pytest.mark.parametrize("name", ["patience", "window"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "3", True])
def test_bad_counts(name, value):
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1, got"):
        EarlyStopping(1.0, **{name: value})


def test_off_policy_by_an_evaluation(tmp_path):
    (tmp_path / "evaluation").mkdir()
    env = make_env(tmp_path / "evaluation", DDPG, reward=1.0, length=4)
    stop = EarlyStopping(4.0, patience=2)
    callback = EvalCallback(env, eval_freq=5, n_eval_episodes=1, verbose=0, warn=False, callback_after_eval=stop)
    model = make_model(DDPG, make_env(tmp_path, DDPG, 3))
    model.learn(300, callback=callback)
    assert (stop.reward, model.num_timesteps) == (4.0, 30)


def test_the_target_is_reached_at_equality_in_single_precision(tmp_path):
    for target, returns in [(0.9, [0.9]), (-0.3, [-0.3]), (1e6 + 0.1, [1e6 + 0.1])]:
        stop = EarlyStopping(target, patience=2, window=3)
        model = scripted(tmp_path, returns)
        model.learn(16, callback=stop)
        assert stop.stopped_early and model.num_timesteps == 4
    stop = EarlyStopping(0.9, patience=1)
    scripted(tmp_path, [0.8999]).learn(16, callback=stop)
    assert not stop.stopped_early
