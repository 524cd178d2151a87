"""The end comes once, however training ends."""

import gc
import multiprocessing
import subprocess
import sys
import textwrap
import weakref
from pathlib import Path

import pytest
from stable_baselines3.common.callbacks import EveryNTimesteps

from tests.callbacks.runs import PPO, Listener, RaiseAt, make_env, make_model

ROOT = Path(__file__).parents[3]


@pytest.fixture
def model(tmp_path):
    return make_model(PPO, make_env(tmp_path))


def test_the_end_comes_once(model):
    listener = Listener()
    model.learn(16, callback=listener)
    listener.on_training_end()  # as RL Zoo does
    with listener:
        pass
    assert listener.told_without_steps() == ["start", "end"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_with_block_ends_what_was_interrupted(model, error):
    with pytest.raises(error), Listener() as listener:
        model.learn(16, callback=[listener, RaiseAt(5, error)])
    assert listener.told_without_steps() == ["start", "end"]
    assert listener.interrupted


def test_an_error_of_the_environment_too(tmp_path):
    env = make_env(tmp_path)
    step, steps = env.envs[0].unwrapped.step, []

    def broken(action):
        steps.append(action)
        if len(steps) == 7:
            raise OSError("the simulator is gone")
        return step(action)

    env.envs[0].unwrapped.step = broken
    with pytest.raises(OSError, match="simulator"), Listener() as listener:
        make_model(PPO, env).learn(16, callback=listener)
    assert listener.told == ["start", *["step"] * 6, "end"]


def test_a_with_block_around_a_complete_run_ends_nothing_twice(model):
    with Listener() as listener:
        model.learn(16, callback=listener)
        assert listener.told_without_steps() == ["start", "end"]
    assert listener.told_without_steps() == ["start", "end"]
    assert not listener.interrupted


def test_the_next_start_ends_what_was_interrupted(model, tmp_path):
    class Notes(Listener):
        def _on_end(self):
            super()._on_end()
            self.model_at_end, self.steps_at_end = self.model, self.num_timesteps

    listener = Notes()
    with pytest.raises(KeyboardInterrupt):
        model.learn(16, callback=[listener, RaiseAt(5)])
    assert listener.told_without_steps() == ["start"]
    other = make_model(PPO, make_env(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        other.learn(16, callback=[listener, RaiseAt(3)])
    assert listener.told_without_steps() == ["start", "end", "start"]
    assert listener.model_at_end is model  # the old one, not the one that starts
    assert listener.steps_at_end == 5


def interrupt(model, *callbacks, at=5):
    with pytest.raises(KeyboardInterrupt):
        model.learn(16, callback=[*callbacks, RaiseAt(at)])


def test_the_next_learn_of_the_model_ends_what_was_interrupted(model):
    first, second = Listener(), Listener()
    interrupt(model, first)
    model.learn(16, callback=second)
    assert first.told_without_steps() == ["start", "end"]
    assert first.interrupted
    assert second.told_without_steps() == ["start", "end"]
    assert not second.interrupted


def test_learn_of_another_model_leaves_it_running(model, tmp_path):
    first = Listener()
    interrupt(model, first)
    make_model(PPO, make_env(tmp_path)).learn(16, callback=Listener())
    assert first.told_without_steps() == ["start"]


def test_an_error_at_the_end_of_one_does_not_keep_others_from_ending(model, capsys):
    class Fails(Listener):
        def _on_end(self):
            raise OSError("the disk is full")

    fails, listener = Fails(), Listener()
    interrupt(model, fails, listener)
    model.learn(16, callback=Listener())
    assert listener.told_without_steps() == ["start", "end"]
    assert "the disk is full" in capsys.readouterr().err


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_callback_that_has_ended_is_released_with_its_model(tmp_path, interrupted):
    def train():
        model, listener = make_model(PPO, make_env(tmp_path)), Listener()
        if interrupted:
            interrupt(model, listener)
            listener.on_training_end()
        else:
            model.learn(16, callback=listener)
        return weakref.ref(model), weakref.ref(listener)

    model, listener = train()
    gc.collect()
    assert model() is None
    assert listener() is None


def test_a_running_callback_is_not_left_to_the_garbage_collector(tmp_path):
    ends = []

    class Notes(Listener):
        def _on_end(self):
            ends.append(self.num_timesteps)

    def train():
        interrupt(make_model(PPO, make_env(tmp_path)), notes := Notes())
        return weakref.ref(notes)

    notes = train()
    gc.collect()
    assert ends == []
    notes().on_training_end()
    gc.collect()
    assert ends == [5]
    assert notes() is None


def test_the_end_of_the_program_ends_what_was_interrupted(tmp_path):
    program = f"""
        from pathlib import Path
        from tests.callbacks.runs import Listener, PPO, RaiseAt, make_env, make_model

        class Notes(Listener):
            def __init__(self, name):
                super().__init__()
                self.name = name

            def _on_end(self):
                print(self.name, self.num_timesteps, flush=True)
                if self.name == "first":
                    raise OSError("the disk is full")

        first, second = Notes("first"), Notes("second")
        model = make_model(PPO, make_env(Path({str(tmp_path)!r})))
        model.learn(16, callback=[first, second, RaiseAt(5, ValueError("a bug"))])
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    assert sorted(result.stdout.splitlines()) == ["first 5", "second 5"]  # an error of one does not stop the other
    assert "a bug" in result.stderr
    assert "the disk is full" in result.stderr


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_the_end_of_a_process_that_trains(method, tmp_path):
    process = multiprocessing.get_context(method).Process(target=_train_and_fail, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == 1
    assert (tmp_path / "ended").read_text() == "5 True\n"


class _Writes(Listener):
    def __init__(self, path):
        super().__init__()
        self.path = path

    def _on_end(self):
        with self.path.open("a") as file:
            print(self.num_timesteps, self.interrupted, file=file)


def _train_and_fail(tmp_path):
    model = make_model(PPO, make_env(tmp_path))
    model.learn(16, callback=[_Writes(tmp_path / "ended"), RaiseAt(5, ValueError("a bug"))])


def test_what_fails_to_start_has_no_end(model):
    class Fails(Listener):
        def _on_start(self):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"), Fails() as fails:
        model.learn(16, callback=fails)
    assert fails.told == []


def test_children_end_with_a_with_block(model):
    with Listener() as listener:
        model.learn(48, callback=EveryNTimesteps(12, listener))
        assert listener.told_without_steps() == ["start"]
    assert listener.told_without_steps() == ["start", "end"]
    assert not listener.interrupted
