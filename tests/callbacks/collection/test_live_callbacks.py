"""Callbacks that come, go and fail in mid-training."""

import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback

from tests.callbacks.runs import Listener, RaiseAt
from velora_sb3.callbacks import CallbackCollection
from velora_sb3.callbacks.trackers.analytics import Analytics
from velora_sb3.testing import run_callback

STEPS = np.ones(6)


class Do(BaseCallback):
    """Does something at a call."""

    def __init__(self, call, action):
        super().__init__()
        self.call, self.action = call, action

    def _on_step(self):
        if self.n_calls == self.call:
            self.action()
        return True


class Order(BaseCallback):
    def __init__(self, name, calls):
        super().__init__()
        self.name, self.calls = name, calls

    def _on_step(self):
        self.calls.append(self.name)
        return True


class Broken(BaseCallback):
    """Raises wherever it is told to, and notes all calls."""

    def __init__(self, *where, error=ValueError):
        super().__init__()
        self.where, self.error, self.calls = where, error, []

    def _do(self, name):
        self.calls.append(name)
        if name in self.where:
            raise self.error(f"broken at {name}")

    def _init_callback(self):
        self._do("init")

    def _on_training_start(self):
        self._do("start")

    def _on_rollout_start(self):
        self._do("rollout start")

    def _on_step(self):
        self._do("step")
        return True

    def _on_rollout_end(self):
        self._do("rollout end")

    def _on_training_end(self):
        self._do("end")


def test_one_that_is_appended_starts_with_the_next_step_and_hears_its_episodes():
    callbacks, late = CallbackCollection(), Listener()
    callbacks.append(Do(2, lambda: callbacks.append(late)))
    run_callback(callbacks, STEPS, dones=[0, 1, 0, 1, 1, 1])
    assert late.told == ["start", *["step"] * 4, "end"]
    assert [episode.timestep for episode in late.heard] == [4, 5, 6]
    assert late.n_calls == 4
    assert late.model.num_timesteps == 6


def test_one_that_is_removed_has_the_event_to_its_end_and_is_then_ended():
    listener, callbacks = Listener(), CallbackCollection()
    callbacks.extend([Do(2, lambda: callbacks.remove(Listener)), listener])
    ended = []
    callbacks.append(Do(3, lambda: ended.append(list(listener.told))))
    run_callback(callbacks, STEPS)
    assert listener.told == ["start", "step", "step", "end"]
    assert ended == [listener.told]  # before the next step
    assert not listener.interrupted


def test_one_may_remove_itself_and_come_back():
    callbacks, listener = CallbackCollection(), Listener()
    callbacks.extend([listener, Do(2, lambda: callbacks.remove(listener)), Do(4, lambda: callbacks.append(listener))])
    run_callback(callbacks, STEPS)
    assert listener.told == ["start", "step", "step", "end", "start", "step", "step", "end"]


def test_a_move_takes_effect_at_the_next_event():
    calls, callbacks = [], CallbackCollection()
    a, b = Order("a", calls), Order("b", calls)
    callbacks.extend([Do(1, lambda: callbacks.move_to_front(b)), a, b])
    run_callback(callbacks, [1, 1])
    assert calls == ["a", "b", "b", "a"]


@pytest.mark.parametrize("off_policy", [False, True])
@pytest.mark.parametrize("dones", [[0, 1, 0, 1, 1, 1], [1, 0, 0, 1, 1, 1]])
def test_an_episode_whose_start_was_before_it_came_is_left_out(dones, off_policy):
    """SB3 has not yet noted the step's ends of episodes when callbacks are called."""
    callbacks, late = CallbackCollection(), Listener()
    callbacks.append(Do(2, lambda: callbacks.append(late)))
    run_callback(callbacks, STEPS, dones=dones, off_policy=off_policy)
    whole = [2.0] if dones[1] else []
    assert [episode.episode_return for episode in late.heard] == [*whole, 1.0, 1.0]


@pytest.mark.parametrize("hook", ["init", "start", "rollout start", "rollout end"])
def test_one_that_comes_at_another_hook_is_started_too(hook):
    callbacks, late = CallbackCollection(), Listener()

    class Adds(Broken):
        def _do(self, name):
            if name == hook and late not in callbacks:
                callbacks.append(late)

    callbacks.append(Adds())
    run_callback(callbacks, STEPS, rollout_length=3)
    assert late.told == ["start", *["step"] * (3 if hook == "rollout end" else 6), "end"]


def test_from_outside_of_the_collection_and_in_a_group():
    group, late, callbacks = CallbackCollection(), Listener(), CallbackCollection()
    callbacks.extend([group, Do(2, lambda: group.append(late))])
    run_callback(callbacks, STEPS)
    assert late.told == ["start", *["step"] * 4, "end"]


def test_sb3s_own_attribute_is_watched():
    callbacks, late = CallbackCollection(), Listener()
    callbacks.append(Do(2, lambda: callbacks.callbacks.append(late)))
    run_callback(callbacks, STEPS)
    assert late.told == ["start", *["step"] * 4, "end"]


def test_one_that_comes_at_the_end_is_too_late():
    callbacks, late = CallbackCollection(), Listener()

    class Adds(Broken):
        def _on_training_end(self):
            callbacks.append(late)

    callbacks.append(Adds())
    run_callback(callbacks, STEPS)
    assert late.told == []


def test_errors_are_raised_by_default():
    with pytest.raises(ValueError, match="broken at step"):
        run_callback(CallbackCollection([Broken("step")]), STEPS)


def test_an_error_is_told_with_its_traceback_and_the_others_go_on():
    broken, before, behind = Broken("step"), Listener(), Listener()
    callbacks = CallbackCollection([before, broken, behind], on_error="warn", max_errors=2)
    with pytest.warns(RuntimeWarning) as warned:
        run_callback(callbacks, STEPS)
    texts = [str(warning.message) for warning in warned]
    assert [text.splitlines()[0] for text in texts] == [
        "Broken raised at timestep 1 (error 1):",
        "Broken raised at timestep 2 (error 2) and is disabled:",
    ]
    assert all("in _do" in text and text.rstrip().endswith("ValueError: broken at step") for text in texts)
    assert before.told == behind.told == ["start", *["step"] * 6, "end"]
    assert broken.calls == ["init", "start", "rollout start", "step", "step", "end"]  # it may still close its files
    assert callbacks.disabled == [broken]
    assert [len(told) for told in callbacks.errors.values()] == [2]


@pytest.mark.parametrize(("where", "calls"), [("init", ["init"]), ("start", ["init", "start"])])
def test_one_that_cannot_start_is_not_called(where, calls):
    broken, other = Broken(where), Listener()
    with pytest.warns(RuntimeWarning, match=r"\(error 1\) and is disabled"):
        run_callback(CallbackCollection([broken, other], on_error="warn"), STEPS)
    assert broken.calls == calls
    assert other.told == ["start", *["step"] * 6, "end"]


def test_an_error_at_the_end_leaves_the_others_their_end():
    other = Listener()
    with pytest.warns(RuntimeWarning, match="broken at end"):
        run_callback(CallbackCollection([Broken("end"), other], on_error="warn"), STEPS)
    assert other.told[-1] == "end"


def test_a_new_run_gives_a_new_chance():
    broken = Broken("rollout start")
    callbacks = CallbackCollection([broken], on_error="warn", max_errors=1)
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="broken"):
            run_callback(callbacks, STEPS)
    assert broken.calls.count("rollout start") == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_is_never_swallowed(error):
    with pytest.raises(error):
        run_callback(CallbackCollection([RaiseAt(2, error)], on_error="warn"), STEPS)


def test_ctrl_c_is_not_lost_in_a_failed_write():
    """It arrives while a callback saves, and torch makes an error of it."""

    class Save(BaseCallback):
        def _on_step(self):
            try:
                raise KeyboardInterrupt
            finally:
                raise RuntimeError("unexpected pos 30 vs 0")

    with pytest.raises(KeyboardInterrupt):
        run_callback(CallbackCollection([Save()], on_error="warn"), STEPS)


def test_none_is_an_error_and_no_stop():
    def forgets(locals_, globals_):
        pass

    with pytest.raises(TypeError, match="ConvertCallback returned None: return True to continue"):
        run_callback(CallbackCollection([ConvertCallback(forgets)]), STEPS)
    with pytest.warns(RuntimeWarning, match="returned None"):
        run = run_callback(CallbackCollection([ConvertCallback(forgets)], on_error="warn"), STEPS)
    assert run.num_timesteps == 6


def test_numpys_false_stops():
    run = run_callback(CallbackCollection([ConvertCallback(lambda *_: np.bool_(False))]), STEPS)
    assert (run.answers, run.num_timesteps) == ([False], 1)


def test_a_with_block_ends_what_sb3_does_not():
    own, plain, nested = Listener(), Broken(), Listener()
    callbacks = CallbackCollection([own, plain, CallbackList([nested])])
    with callbacks:
        run_callback(callbacks, STEPS, raises=(3, KeyboardInterrupt()))
        assert own.told[-1] == "step"
    assert own.told[-1] == nested.told[-1] == plain.calls[-1] == "end"
    with callbacks:
        pass
    assert plain.calls.count("end") == 1


def test_an_interrupted_run_does_not_stay_behind():
    callbacks, listener = CallbackCollection(), Listener()
    callbacks.append(listener)
    run_callback(callbacks, STEPS, raises=(3, KeyboardInterrupt()))
    run_callback(callbacks, STEPS)
    assert listener.told == ["start", *["step"] * 3, "end", "start", *["step"] * 6, "end"]


def test_one_that_comes_late_still_stands_before_trackers():
    class Tracker(Listener):
        priority = Analytics.priority

        def _on_start(self):
            super()._on_start()
            Analytics._move_to_end(self)

    tracker, late = Tracker(), Listener()
    callbacks = CallbackCollection([tracker, Listener()])
    callbacks.append(Do(2, lambda: callbacks.append(late)))
    run_callback(callbacks, STEPS)
    assert (callbacks[-1], callbacks[-2]) == (tracker, late)
