import json
import math
from contextlib import nullcontext

import numpy as np
import pytest
from sb3_contrib import ARS
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.logger import Logger

from tests.callbacks.runs import make_env, make_model
from velora_sb3.callbacks import StopOnPlateau
from velora_sb3.testing import run_callback

NAN, INF = math.nan, math.inf


def judge(stop, values, key="test/value"):
    """A row of the log after each step; None for a row without the number."""
    rows = [{"test/other": 0.0} if value is None else {key: value} for value in values]
    return run_callback(stop, np.ones(len(values) + 1), logged=[*rows, {}], rollout_length=1)


@pytest.mark.parametrize(
    ("values", "settings", "stops_behind"),
    [
        ([1, 2, 3, 3, 3, 4], {"patience": 2}, 5),
        ([1, 2, 3, 3, 4, 4, 5], {"patience": 2}, None),  # in a row
        ([3, 2, 1, 1], {"patience": 1, "mode": "min"}, 4),
        ([1, 2, 3], {"patience": 1, "mode": "min"}, 2),
        ([1, 1.125, 1.25, 1.5], {"patience": 2, "min_delta": 0.25}, 3),  # equality is not above
        ([1, 1.125, 1.375, 1.5], {"patience": 2, "min_delta": 0.25}, None),
        ([-5, -4, -4.5, -4.2], {"patience": 2}, 4),
        ([1, NAN, NAN, 2], {"patience": 2}, 3),
        ([NAN, NAN, 1], {"patience": 2}, 2),
        ([1, INF, 2, 3, 4], {"patience": 2}, None),  # infinity is never the best
        ([1, -INF, -INF], {"patience": 2, "mode": "min"}, 3),
        ([1, None, None, 1, None, 1], {"patience": 2}, 6),  # rows without the number say nothing
    ],
)
def test_patience(values, settings, stops_behind):
    stop = StopOnPlateau("test/value", **settings)
    run = judge(stop, values)
    assert run.stopped == stop.stopped_early == (stops_behind is not None)
    assert run.num_timesteps == (len(values) + 1 if stops_behind is None else stops_behind + 1)


def test_it_says_why(capsys):
    stop = StopOnPlateau("test/value", "min", 2, verbose=1)
    judge(stop, [3, 1, 2, 1])
    assert stop.reason == "test/value did not improve 2 times in a row: 1 at timestep 4, the best was 1"
    assert (stop.best, stop.failures) == (1.0, 2)
    assert capsys.readouterr().out.splitlines() == [
        "StopOnPlateau: stops after 2 rows without a lower test/value",
        f"StopOnPlateau: {stop.reason}",
    ]


def test_a_key_that_never_comes_is_an_error_that_lists_those_there_are():
    message = (
        "StopOnPlateau found no metric in 3 rows: SB3's logger has no number 'test/values'; did you mean "
        "'test/value'? Available: test/value, time/fps"
    )
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        judge(StopOnPlateau("test/values", wait=3), [1] * 5)


def test_once_others_of_its_group_have_come_only_their_rows_count():
    with pytest.raises(ValueError, match="in 2 rows"):
        run_callback(
            StopOnPlateau("eval/reward", wait=2),
            np.ones(9),
            logged=[{}, *[{"eval/other": 1.0}, {}, {}, {}, {}, {}], {"eval/other": 1.0}, {}],
        )
    with pytest.warns(UserWarning, match="StopOnPlateau never saw its metric: .* has no number 'eval/reward'"):
        run_callback(
            StopOnPlateau("eval/reward", wait=2), np.ones(8), logged=[{}, {"eval/other": 1.0}, {}, {}, {}, {}, {}, {}]
        )


def test_a_number_that_comes_after_the_last_step_is_no_mistake():
    stop = StopOnPlateau("rollout/ep_rew_mean")
    PPO("MlpPolicy", "CartPole-v1", n_steps=64).learn(64, callback=stop)  # logs once, when no step follows
    assert stop.best is None


@pytest.mark.parametrize("place", ["list", "after evaluation"])
def test_evaluations(tmp_path, place):
    (tmp_path / "evaluation").mkdir()
    stop = StopOnPlateau("eval/mean_reward", patience=2, wait=1)
    evaluation = EvalCallback(
        make_env(tmp_path / "evaluation", reward=1.0, length=3),
        callback_after_eval=stop if place == "after evaluation" else None,
        eval_freq=40,
        n_eval_episodes=1,
        verbose=0,
        warn=False,
    )
    model = make_model(PPO, make_env(tmp_path, monitor=True))
    model.learn(200, callback=[evaluation] if place == "after evaluation" else [evaluation, stop])
    assert model.num_timesteps == 120  # at the step of the third evaluation
    assert stop.best == 3.0
    assert place != "list" or not model.logger.output_formats  # SB3 does not end the children of an evaluation


@pytest.mark.parametrize("algorithm", [PPO, SAC])
def test_keys_of_updates(tmp_path, algorithm):
    stop = StopOnPlateau("train/learning_rate", "min", patience=1)
    model = make_model(algorithm, make_env(tmp_path, algorithm, monitor=True))
    model.learn(100, callback=stop, log_interval=1)
    assert stop.stopped_early
    assert stop.best == pytest.approx(3e-4)


def test_it_goes_on_from_a_state():
    values = [3, 2, 2, 1, 1, 1, 1]
    whole, first, second = (StopOnPlateau("test/value", "min", patience=3) for _ in range(3))
    assert judge(whole, values).num_timesteps == 8
    judge(first, values[:6])
    state = json.loads(json.dumps(first.state_dict()))
    assert (state["best"], state["failures"]) == (1.0, 2)

    class Later(StopOnPlateau):
        is_new_run = False

    second = Later("test/value", "min", patience=3)
    second.load_state_dict(state)
    assert judge(second, values[6:]).stopped
    assert (second.best, second.failures, second.reason[-16:]) == (whole.best, whole.failures, whole.reason[-16:])


@pytest.mark.filterwarnings("ignore:StopOnPlateau never saw its metric")  # at the end of the first piece
@pytest.mark.parametrize(
    ("key", "outcome"),
    [("train/n_updates", nullcontext()), ("train/n", pytest.raises(ValueError, match="found no metric in 3 rows"))],
)
def test_in_two_pieces_it_ends_where_it_does_in_one(tmp_path, key, outcome):
    """The row of the last rollout is judged at the next step, which comes after the resume."""
    ends = []
    for pieces in ([160], [48, 112]):
        model, state = make_model(PPO, make_env(tmp_path, monitor=True)), None
        model.set_logger(Logger(None, []))
        with outcome:
            for steps in pieces:
                stop = StopOnPlateau(key, "min", patience=3, wait=3)
                if state is not None:
                    stop.load_state_dict(state)
                model.learn(steps, callback=stop, reset_num_timesteps=False)
                state = json.loads(json.dumps(stop.state_dict()))
        ends.append(model.num_timesteps)
    assert ends[0] == ends[1] < 160


def test_a_new_run_begins_anew(tmp_path):
    stop = StopOnPlateau("test/value", patience=1)
    judge(stop, [5, 4])
    assert stop.stopped_early
    judge(stop, [1, 2])
    assert (stop.stopped_early, stop.reason, stop.best) == (False, None, 2.0)
    with pytest.warns(UserWarning, match="never saw its metric"):  # the values of earlier runs are none of this one
        judge(stop, [None, None])


def test_ars_goes_on():
    stop = StopOnPlateau("train/learning_rate", patience=1)
    with pytest.warns(UserWarning, match="ARS cannot be stopped by a callback"):
        ARS("LinearPolicy", "CartPole-v1", n_delta=1, seed=0).learn(700, callback=stop)
    assert stop.reason is not None and not stop.stopped_early


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"monitor": ""}, "monitor must be a key of SB3's logger"),
        ({"mode": "auto"}, "mode must be one of 'min', 'max', got 'auto'"),
        ({"patience": 0}, "patience must be an integer"),
        ({"min_delta": -1}, "min_delta must be a finite number at least 0, got -1"),
        ({"wait": 0}, "wait must be an integer"),
    ],
)
def test_arguments_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        StopOnPlateau(**{"monitor": "eval/mean_reward", **settings})


@pytest.mark.parametrize(
    ("algorithm", "key", "length", "settings"),
    [
        (PPO, "rollout/ep_rew_mean", 200, {}),
        (SAC, "train/actor_loss", 2, {"learning_starts": 60}),
    ],
)
def test_keys_that_sb3_cannot_log_yet_do_not_count_as_missing(algorithm, key, length, settings, tmp_path):
    model = make_model(algorithm, make_env(tmp_path, algorithm, length=length, monitor=True), **settings)
    stop = StopOnPlateau(key, patience=1000, wait=3)
    model.learn(256, callback=stop, log_interval=1)
    assert stop.best is not None


@pytest.mark.parametrize("key", ["rollout/ep_rew_meen", "train/actor_los"])
def test_but_wrong_keys_of_these_groups_do(key, tmp_path):
    model = make_model(SAC, make_env(tmp_path, SAC, length=4, monitor=True))
    with pytest.raises(ValueError, match="did you mean"):
        model.learn(96, callback=StopOnPlateau(key, wait=3), log_interval=1)
