"""The hooks come in order, to callbacks in lists and in events."""

import json

import numpy as np
import pytest
from stable_baselines3 import DDPG, PPO
from stable_baselines3.common.callbacks import (
    CallbackList,
    ConvertCallback,
    EvalCallback,
    EveryNTimesteps,
    StopTrainingOnNoModelImprovement,
    StopTrainingOnRewardThreshold,
)

from tests.callbacks.runs import ALGORITHMS, Listener, make_env, make_model
from velora_sb3.callbacks import EarlyStopping, VeloraCallback
from velora_sb3.callbacks.base.triggers import EveryTimesteps


@pytest.fixture
def model(tmp_path):
    return make_model(PPO, make_env(tmp_path))


def evaluation(tmp_path, **children):
    folder = tmp_path / "evaluation"
    folder.mkdir(exist_ok=True)
    settings = {"eval_freq": 8, "n_eval_episodes": 1, "verbose": 0, "warn": False}
    return EvalCallback(make_env(folder, reward=1.0), **settings, **children)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_start_steps_end(algorithm, tmp_path):
    listener = Listener()
    make_model(algorithm, make_env(tmp_path, algorithm, 3)).learn(48, callback=listener)
    assert listener.told == ["start", *["step"] * 16, "end"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_can_stop_training(algorithm, tmp_path):
    class ThreeEpisodes(VeloraCallback):
        def _on_episode(self, episode):
            return np.bool_(episode.number < 3)

    class FiveSteps(VeloraCallback):
        def _on_every_step(self):
            return self.n_calls < 5

    for callback in (ThreeEpisodes(), FiveSteps()):
        model = make_model(algorithm, make_env(tmp_path, algorithm, length=4))
        model.learn(48, callback=[callback, Listener()])
        assert model.num_timesteps == (12 if isinstance(callback, ThreeEpisodes) else 5)


def test_on_step_returns_a_plain_bool(model):
    class Stops(VeloraCallback):
        def _on_every_step(self):
            return np.bool_(self.n_calls < 3)

    answers, stops = [], Stops()
    stops.on_step, original = lambda: answers.append(original()) or answers[-1], stops.on_step
    model.learn(16, callback=stops)
    assert [type(answer) for answer in answers] == [bool] * 3
    assert answers == [True, True, False]


def test_all_episodes_of_a_step_are_told_after_a_stop(tmp_path):
    class StopsAtOnce(Listener):
        def _on_episode(self, episode):
            super()._on_episode(episode)
            return False

    model, callback = make_model(PPO, make_env(tmp_path, n_envs=3, length=4)), StopsAtOnce()
    model.learn(48, callback=callback)
    assert [episode.env_index for episode in callback.heard] == [0, 1, 2]
    assert model.num_timesteps == 12


def test_it_serves_several_runs(model):
    listener = Listener()
    model.learn(16, callback=listener)
    assert listener.is_new_run
    model.learn(16, callback=listener, reset_num_timesteps=False)
    assert not listener.is_new_run
    assert listener.n_calls == 32
    model.learn(16, callback=listener)
    assert listener.is_new_run
    assert listener.told_without_steps() == ["start", "end"] * 3


def test_a_callback_in_two_places_starts_and_ends_once(model):
    listener = Listener()
    model.learn(16, callback=[listener, EveryNTimesteps(4, listener)])
    assert listener.told_without_steps() == ["start", "end"]
    assert len(listener.heard) == len(set(listener.heard))


@pytest.mark.parametrize("algorithm", [DDPG, PPO])
def test_children_of_an_event_are_called_at_the_event(algorithm, tmp_path):
    timed, evaluated, best = Listener(), Listener(), Listener()
    folder = tmp_path / "evaluation"
    folder.mkdir()
    evaluate = EvalCallback(
        make_env(folder, algorithm),
        callback_after_eval=evaluated,
        callback_on_new_best=best,
        eval_freq=10,
        n_eval_episodes=1,
        verbose=0,
        warn=False,
    )
    model = make_model(algorithm, make_env(tmp_path, algorithm))
    model.learn(48, callback=[EveryNTimesteps(12, timed), evaluate])
    assert timed.told == ["start", *["step"] * 4]  # SB3 tells children nothing about the end
    assert evaluated.told == ["start", *["step"] * 4]
    assert 1 <= best.told.count("step") <= 4
    assert best.told_without_steps() == ["start"]
    for child in (timed, evaluated, best):
        child.on_training_end()
        assert child.told[-1] == "end"


def test_a_new_best_child_serves_a_second_run(model, tmp_path):
    listener = Listener()
    callback = evaluation(tmp_path, callback_on_new_best=listener)
    model.learn(16, callback=callback)
    callback.best_mean_reward = -np.inf
    model.learn(16, callback=callback)
    assert listener.told_without_steps() == ["start", "end", "start"]


@pytest.mark.parametrize("ours_first", [True, False])
def test_beside_sb3s_own_children(model, tmp_path, ours_first):
    # Constant rewards of 1: nothing improves unless an episode is longer, and -1 is reached at once.
    stops = [StopTrainingOnNoModelImprovement(2), StopTrainingOnRewardThreshold(-1)]
    for stop, place in zip(stops, ("callback_after_eval", "callback_on_new_best"), strict=True):
        listener = Listener()
        children = [listener, stop] if ours_first else [stop, listener]
        model.learn(800, callback=evaluation(tmp_path, **{place: CallbackList(children)}))
        assert model.num_timesteps < 800
        assert listener.told.count("step") == (1 if stop is stops[1] else stop.n_calls)
        assert listener.evaluation() is not None


def test_evaluation_is_found_at_any_depth(model, tmp_path):
    seen = {}

    class Looks(Listener):
        def _on_every_step(self):
            seen[self] = self.evaluation()
            return True

    direct, listed, deep, beside = Looks(), Looks(), Looks(), Looks()
    outer = evaluation(tmp_path, callback_after_eval=CallbackList([listed, EveryNTimesteps(1, deep)]))
    model.learn(16, callback=[outer, inner := evaluation(tmp_path, callback_on_new_best=direct), beside])
    assert seen == {direct: inner, listed: outer, deep: outer, beside: None}


def test_siblings_in_the_order_of_their_calls(model, tmp_path):
    first, child, best, last = Listener(), Listener(), Listener(), Listener()
    evaluate = evaluation(tmp_path, callback_after_eval=child, callback_on_new_best=CallbackList([best]))
    every = EveryNTimesteps(4, ConvertCallback(lambda *_: True))
    model.learn(16, callback=[first, CallbackList([evaluate, every]), last], progress_bar=False)
    expected = [first, evaluate, best, child, every, every.callback, last]
    for callback in (first, child, best, last):
        assert callback.siblings() == expected


def test_siblings_of_a_callback_alone(model):
    listener = Listener()
    assert listener.siblings() == [listener]
    model.learn(16, callback=listener)
    assert listener.siblings() == [listener]


def test_info_is_printed_on_demand(model, capsys):
    class Settled(Listener):
        def config(self):
            return "Settled", {"size": 3, "place": "here"}

    model.learn(16, callback=Settled())
    assert capsys.readouterr().out == ""
    loud = Settled()
    loud.verbose = 1
    model.learn(16, callback=loud)
    assert capsys.readouterr().out == "Settled(size=3, place='here')\n"


def test_state_goes_on_in_another_callback(model):
    class Notes(Listener):
        def _on_start(self):
            super()._on_start()
            self.finished_at_start = self.episodes.finished

    first, second = Notes(), Notes()
    assert first.state_dict() == {"n_calls": 0}
    model.learn(16, callback=first)
    state = json.loads(json.dumps(first.state_dict()))
    second.load_state_dict(state)
    model.learn(16, callback=second, reset_num_timesteps=False)
    assert second.n_calls == 32
    assert second.finished_at_start == len(first.heard)
    assert [episode.number for episode in second.heard] == list(
        range(len(first.heard) + 1, len(first.heard) + len(second.heard) + 1)
    )


@pytest.mark.parametrize("restored", [False, True])
def test_children_of_an_event_get_the_episodes_from_before_a_resume(model, restored):
    first, second = Listener(), Listener()
    model.learn(16, callback=[counted := Listener(), EveryNTimesteps(32, first)])
    assert counted.heard and not first.heard
    if restored:
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    else:
        second = first
    model.learn(16, callback=[counted, EveryNTimesteps(32, second)], reset_num_timesteps=False)
    assert second.heard == counted.heard


def test_a_subclass_may_have_attributes_of_usual_names(model):
    class Own(Listener):
        def _on_start(self):
            self._counter, self._running, self._pending = 0, True, []

        def _on_every_step(self):
            self._counter += self._running
            return True

    own, listener = Own(), Listener()
    model.learn(64, callback=[own, listener])
    assert own.heard == listener.heard
    assert own.heard
    assert own._counter == own.n_calls


@pytest.mark.parametrize("hook", ["_on_episode", "_on_every_step", "_on_step"])
def test_a_hook_that_returns_nothing_does_not_silently_stop_training(hook, model, monkeypatch):
    monkeypatch.setattr(Listener, hook, lambda self, *arguments: None)
    with pytest.raises(TypeError, match=rf"{hook}\(\) of Listener returned None: return True to continue training"):
        model.learn(64, callback=Listener())


def test_children_of_an_event_get_no_episodes_of_an_earlier_run(model):
    listener = Listener()
    model.learn(16, callback=EveryNTimesteps(32, listener))
    model.learn(16, callback=[counted := Listener(), EveryNTimesteps(16, listener)])
    assert listener.heard == counted.heard


def test_what_another_model_left_does_not_count_for_a_model_that_has_trained(model, tmp_path):
    class Periodic(Listener):
        def __init__(self):
            super().__init__()
            self._trigger, self.fired = EveryTimesteps(16), []

        def _on_every_step(self):
            if self._trigger.crossed(self.num_timesteps):
                self.fired.append(self.num_timesteps)
            return True

    other, periodic, listener = make_model(PPO, make_env(tmp_path)), Periodic(), Listener()
    model.learn(80, callback=[periodic, EveryNTimesteps(96, listener)])
    other.learn(16)
    periodic.fired.clear()
    callbacks = [counted := Listener(), periodic, EveryNTimesteps(16, listener)]
    other.learn(32, callback=callbacks, reset_num_timesteps=False)
    assert periodic.fired == [32, 48]
    assert listener.heard and listener.heard == counted.heard[: len(listener.heard)]


def test_a_state_leaves_the_episodes_that_others_have_counted_since(model, tmp_path):
    """SB3 starts a callback_on_new_best at the first new best, which may come long after a resume."""
    listener, late = Listener(), Listener()
    late.load_state_dict({"n_calls": 3, "episodes": {"finished": 0}})
    model.learn(48, callback=[listener, evaluation(tmp_path, callback_on_new_best=late)])
    assert "start" in late.told
    assert [episode.number for episode in listener.heard] == list(range(1, len(listener.heard) + 1))


@pytest.mark.parametrize("as_child", [False, True])
def test_sb3s_own_hooks_may_be_overridden_without_super(as_child, tmp_path):
    class Own(Listener):
        def _init_callback(self):
            self.told.append("init")

        def _on_training_start(self):
            self.told.append("training start")

        def _on_step(self):
            return self.n_calls < 3

        def _on_training_end(self):
            self.told.append("training end")

    own = Own()
    model = make_model(PPO, make_env(tmp_path, length=4))
    with own:
        model.learn(32, callback=EveryNTimesteps(4, own) if as_child else [own])
    expected = ["init", "start", "training start", "step", "step", "step", "end", "training end"]
    assert own.told == expected
    assert model.num_timesteps == (12 if as_child else 3)
    assert len(own.heard) == (3 if as_child else 0)


def test_a_subclass_of_a_callback_of_ours_keeps_working_when_it_overrides_sb3s_hooks(tmp_path):
    class Own(EarlyStopping):
        def _on_training_start(self):
            pass

        def _on_step(self):
            return True

    stop = Own(target=4, patience=2)
    make_model(PPO, make_env(tmp_path, reward=1.0, length=4)).learn(32, callback=stop)
    assert stop.stopped_early and stop.model.num_timesteps == 8
