"""What hooks are told, in which order, for on-policy and off-policy algorithms."""

import sys
from pathlib import Path

import numpy as np
import pytest
from sb3_contrib import ARS
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.callbacks import CallbackList, EveryNTimesteps

import velora_sb3.callbacks
from tests.callbacks.hooks.hooked import Told, life, model_of
from tests.callbacks.hooks.numbered_env import numbered
from tests.callbacks.runs import Listener, StopAt
from velora_sb3.callbacks import EpisodeCallback, EvalCallback, LambdaCallback
from velora_sb3.callbacks.base.episodes import EpisodeCounter

ALGORITHMS = [PPO, SAC, DQN]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "settings", [{}, {"as_dict": True}, {"normalize": True}, {"normalize": True, "as_dict": True}], ids=str
)
def test_every_step_of_every_environment(algorithm, settings):
    told = Told(history=2)
    env = numbered((4, 3), discrete=algorithm is DQN, **settings)
    model_of(algorithm, env).learn(12, callback=told)
    assert told.lives(0) == life(0, 0, 4) + life(0, 1, 4, until=2)
    assert told.lives(1) == life(1, 0, 3) + life(1, 1, 3) + [("created", 1), ("start", 1, 2, 0)]
    assert told.returns == [(False, 1, 306.0, 3), (False, 0, 10.0, 4), (False, 1, 306.0, 3)]


def test_environments_in_processes():
    told = Told()
    model_of(PPO, numbered((4, 3), subproc=True)).learn(12, callback=told)
    assert told.lives(1) == life(1, 0, 3) + life(1, 1, 3) + [("created", 1), ("start", 1, 2, 0)]


@pytest.mark.parametrize("algorithm", [PPO, SAC])
def test_the_order_of_all(algorithm):
    told = Told()
    model_of(algorithm, numbered((4,)), **({} if algorithm is PPO else {"train_freq": 6})).learn(12, callback=told)
    first = [life(0, 0, 4), life(0, 1, 4, until=2)]
    second = [
        ("step", 0, 1, 3),
        ("step", 0, 1, 4),
        ("end", 0, 1, 4),
        *life(0, 2, 4),
        ("created", 0),
        ("start", 0, 3, 0),
    ]
    assert [one if isinstance(one, str) else (one[0], *one[2:]) for one in told.told] == [
        "init",
        ("env",),
        *first[0],
        *first[1],
        ("sampled", [(0, 0, 4), (0, 1, 2)]),
        "result",
        *second,
        ("sampled", [(0, 1, 4), (0, 2, 4)]),
        "result",
    ]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_actions_are_those_that_the_environment_got(algorithm):
    actions = []
    env = numbered((4,), discrete=algorithm is DQN)
    hook = LambdaCallback(on_episode_step=lambda episode: actions.append(episode.get_actions(-1)))
    model_of(algorithm, env).learn(12, callback=hook)
    assert len(actions) == 12
    np.testing.assert_array_equal(np.array(actions), np.array(env.unwrapped.envs[0].actions))
    if algorithm is PPO:  # a Gaussian without bounds would go beyond
        assert np.abs(actions).max() <= 1


def test_rewards_are_not_touched_when_a_time_limit_is_bootstrapped():
    totals = []
    hook = LambdaCallback(on_episode_end=lambda episode: totals.append((episode.get_return(), episode.get_rewards())))
    model_of(PPO, numbered((3,))).learn(12, callback=hook)
    assert totals == [(6.0, [3.0])] * 4


def test_the_result_of_an_iteration():
    told = Told()
    model_of(PPO, numbered((4,))).learn(18, callback=told)
    assert [result["training_iteration"] for result in told.results] == [1, 2, 3]
    assert [result["num_env_steps_sampled_lifetime"] for result in told.results] == [6, 12, 18]
    assert [result["env_runners"]["num_episodes"] for result in told.results] == [1, 3, 4]
    assert [result["env_runners"]["episode_return_mean"] for result in told.results] == [10.0] * 3
    losses = [result["learners"]["default_policy"]["loss"] for result in told.results]
    assert len(set(losses)) == 3
    seconds = [result["time_this_iter_s"] for result in told.results]
    assert min(seconds) > 0
    assert sum(seconds) == pytest.approx(told.results[-1]["time_total_s"])


def test_an_iteration_may_be_longer_than_a_rollout():
    results = []
    hook = LambdaCallback(timesteps_per_iteration=10, on_train_result=lambda algorithm: results.append(algorithm))
    model = model_of(SAC, numbered((4,)))
    steps = []
    hook2 = LambdaCallback(
        timesteps_per_iteration=10, on_train_result=lambda result: steps.append(tuple(result.values())[:2])
    )
    model.learn(27, callback=[hook, hook2])
    assert steps == [(1, 12), (2, 24)]
    assert results == [model, model]


def test_a_rollout_that_is_cut_off_is_no_iteration():
    told = Told()
    model_of(PPO, numbered((4,))).learn(18, callback=[told, StopAt(9)])
    assert told.told.count("result") == 1
    assert told.lives() == [*life(0, 0, 4), *life(0, 1, 4), *life(0, 2, 4, until=1)]


class TestWithoutHooks:
    def test_there_is_no_work(self):
        folder, called = str(Path(velora_sb3.callbacks.__file__).parent), set()

        def watch(frame, event, argument):
            if event == "call" and frame.f_code.co_filename.startswith(folder):
                called.add(frame.f_code.co_name)

        model, callback = model_of(PPO, numbered((4, 3))), LambdaCallback(on_algorithm_init=lambda: None)
        model.learn(12, callback=callback)
        finished = EpisodeCounter.of(model).finished
        sys.setprofile(watch)
        try:
            callback.update_locals({"rewards": None, "dones": None})  # would fail if it were looked at
            for _ in range(3):
                model.num_timesteps += 2
                callback._has_started = True
                assert callback.on_step() is True
        finally:
            sys.setprofile(None)
            callback._has_started = False
        assert called == {"update_locals", "on_step", "_ask", "_on_step", "_listen", "_on_every_step"}
        assert finished == EpisodeCounter.of(model).finished == 0

    def test_evaluations_are_left_alone(self):
        evaluation = EvalCallback(numbered((4,)), n_eval_episodes=1, eval_freq=4, verbose=0, warn=False)
        seen = []
        hook = LambdaCallback(on_train_result=lambda: seen.append(evaluation.listener))
        model_of(PPO, numbered((4,))).learn(12, callback=[hook, evaluation])
        assert seen == [None, None]


class TestGoingOn:
    def test_an_episode_goes_on_in_the_next_learn(self):
        told = Told()
        model = model_of(PPO, numbered((4,)))
        model.learn(6, callback=told)
        told.told.clear()
        model.learn(6, callback=told, reset_num_timesteps=False)
        assert told.lives()[:3] == [("step", 0, 1, 3), ("step", 0, 1, 4), ("end", 0, 1, 4)]
        assert "init" not in told.told
        assert told.returns == [(False, 0, 10.0, 4)] * 3
        assert told.results[-1]["training_iteration"] == 2

    def test_a_new_run_begins_new_episodes(self):
        told = Told()
        model = model_of(PPO, numbered((4,)))
        model.learn(6, callback=told)
        told.told.clear()
        model.learn(6, callback=told)
        assert told.lives()[:2] == [("created", 0), ("start", 0, 2, 0)]
        assert told.results[-1]["training_iteration"] == 1

    def test_an_episode_whose_start_was_not_seen_is_left_out(self):
        told = Told()
        model = model_of(PPO, numbered((4,)))
        model.learn(6)
        model.learn(6, callback=told, reset_num_timesteps=False)
        assert told.lives() == [*life(0, 2, 4), ("created", 0), ("start", 0, 3, 0)]

    def test_also_if_another_callback_has_seen_it(self):
        told, other = Told(), Listener()
        model = model_of(PPO, numbered((4,)))
        model.learn(6, callback=other)
        model.learn(6, callback=[other, told], reset_num_timesteps=False)
        assert told.lives() == [*life(0, 2, 4), ("created", 0), ("start", 0, 3, 0)]


def test_all_share_episodes_and_metrics():
    class First(EpisodeCallback):
        def on_episode_step(self, *, episode, **kwargs):
            episode.custom_data["steps"] = episode.custom_data.get("steps", 0) + 1

    seen = []

    class Second(EpisodeCallback):
        def on_episode_end(self, *, episode, metrics_logger, **kwargs):
            seen.append((episode.id_, episode.custom_data == {"steps": len(episode)}, metrics_logger))

    model_of(PPO, numbered((4, 3))).learn(24, callback=CallbackList([First(), CallbackList([Second()]), Second()]))
    assert [(name, shared) for name, shared, _ in seen[::2]] == [(name, shared) for name, shared, _ in seen[1::2]]
    assert len(seen) == 14 and all(shared for _, shared, _ in seen)
    assert len({id(metrics) for *_, metrics in seen}) == 1


def test_the_same_callback_twice_in_the_list_is_called_once():
    told = Told()
    model_of(PPO, numbered((4,))).learn(6, callback=[told, told])
    assert told.lives() == life(0, 0, 4) + life(0, 1, 4, until=2)
    assert told.told.count("result") == 1
    assert [one for one in told.told if one[0] == "sampled"] == [("sampled", False, [(0, 0, 4), (0, 1, 2)])]


@pytest.mark.parametrize(
    "wrap",
    [lambda callback: EveryNTimesteps(4, callback), lambda callback: EveryNTimesteps(4, CallbackList([callback]))],
)
def test_it_must_see_every_step(wrap):
    with pytest.raises(ValueError, match="Told must see every step .* not to EveryNTimesteps"):
        model_of(PPO, numbered((4,))).learn(6, callback=wrap(Told()))


def test_settings_may_be_numpy_integers():
    callback = EpisodeCallback(history=np.int64(3), timesteps_per_iteration=np.int32(2))
    assert callback.config()[1] == {"history": 3, "timesteps_per_iteration": 2, "hooks": []}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_returns_and_lengths_are_the_counters(algorithm):
    seen, listener = [], Listener()
    hook = LambdaCallback(on_episode_end=lambda episode: seen.append((episode.get_return(), len(episode))))
    env = numbered((4, 3), discrete=algorithm is DQN, normalize=True)
    model_of(algorithm, env).learn(24, callback=[hook, listener])
    assert seen == [(episode.episode_return, episode.length) for episode in listener.heard] != []


@pytest.mark.parametrize("settings", [{"history": 0}, {"history": True}, {"timesteps_per_iteration": 0.5}])
def test_settings_are_checked(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must be an integer of at least 1"):
        EpisodeCallback(**settings)


def test_a_hook_that_asks_for_the_wrong_thing_is_told_at_once():
    class Wrong(EpisodeCallback):
        def on_train_result(self, *, episode, **kwargs):
            pass

    with pytest.raises(TypeError, match="on_train_result cannot call .* requires episode"):
        Wrong()


def test_ars_tells_of_ends_alone():
    ends, others = [], []
    hook = LambdaCallback(
        on_episode_start=lambda: others.append(1),
        on_episode_step=lambda: others.append(2),
        on_episode_end=lambda episode: ends.append((episode.get_return(), len(episode), episode.get_observations())),
    )
    ARS("LinearPolicy", numbered((4,)), n_delta=2, seed=0, device="cpu").learn(16, callback=hook)
    assert ends == [(10.0, 4, [])] * 4
    assert others == []


def test_it_tells_what_it_does():
    name, settings = LambdaCallback(on_episode_end=lambda: 0).config()
    assert (name, settings["hooks"]) == ("LambdaCallback", ["on_episode_end"])
