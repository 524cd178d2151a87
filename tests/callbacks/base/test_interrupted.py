"""Whether a callback knows how its training ended."""

import pytest
from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from tests.metrics.short_episodes import Do, ppo
from velora_sb3.callbacks import VeloraCallback


class Ends(VeloraCallback):
    def __init__(self):
        super().__init__()
        self.told = []

    def _on_end(self):
        self.told.append(self.interrupted)


def fail():
    raise KeyboardInterrupt


@pytest.fixture
def callback():
    return Ends()


def test_at_the_end(callback):
    ppo().learn(64, callback=callback)
    assert callback.told == [False]


def test_stopped_by_a_callback(callback):
    ppo().learn(64, callback=[callback, Do(10, lambda: False)])
    assert callback.told == [False]


def test_an_error_within_a_with_block(callback):
    with pytest.raises(KeyboardInterrupt), callback:
        ppo().learn(64, callback=[callback, Do(10, fail)])
    assert callback.told == [True]


def test_an_error_and_another_start(callback):
    model = ppo()
    with pytest.raises(KeyboardInterrupt):
        model.learn(64, callback=[callback, Do(10, fail)])
    assert callback.told == []
    model.learn(64, callback=callback)
    assert callback.told == [True, False]


def test_an_end_by_somebody_else_is_one_and_cannot_be_told_from_sb3s_own(callback):
    """RL Zoo ends its first callback after a Ctrl-C, and after any other end once more."""
    with pytest.raises(KeyboardInterrupt):
        ppo().learn(64, callback=[callback, Do(10, fail)])
    callback.on_training_end()
    callback.on_training_end()
    assert callback.told == [False]


def test_in_lists_in_lists(callback):
    class Other(BaseCallback):
        def _on_step(self):
            return True

    ppo().learn(64, callback=CallbackList([Other(), CallbackList([callback])]))
    assert callback.told == [False]
