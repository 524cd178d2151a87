import pytest
from stable_baselines3 import PPO

from tests.callbacks.hooks.hooked import model_of
from tests.callbacks.hooks.numbered_env import numbered
from velora_sb3.callbacks import EpisodeCallback, LambdaCallback
from velora_sb3.callbacks.hooks.signatures import HOOKS


def named(name, told):
    class Named(EpisodeCallback):
        def on_train_result(self, *, algorithm, metrics_logger, result, **kwargs):
            told.append(name)

        def on_episode_step(self, *, episode, **kwargs):
            told.append((name, len(episode)))

    return Named()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_subclasses_first_then_functions_in_order(place):
    told = []
    functions = LambdaCallback(
        on_train_result=[
            lambda algorithm, **kw: told.append("lambda 1"),
            lambda algorithm, **kw: told.append("lambda 2"),
        ],
        on_episode_step=lambda episode: told.append(("lambda", len(episode))),
    )
    callbacks = [named("debug", told), named("mine", told)]
    callbacks.insert(place, functions)
    model_of(PPO, numbered((4,)), n_steps=2, batch_size=2).learn(2, callback=callbacks)
    steps = [(name, step) for step in (1, 2) for name in ("debug", "mine", "lambda")]
    assert told == [*steps, "debug", "mine", "lambda 1", "lambda 2"]


def test_an_unknown_hook_lists_the_hooks():
    with pytest.raises(TypeError) as error:
        LambdaCallback(on_episode_over=print)
    assert "'on_episode_over'" in str(error.value)
    assert all(name in str(error.value) for name in HOOKS)


@pytest.mark.parametrize("given", [3, [print, "no"]])
def test_no_function(given):
    with pytest.raises(TypeError, match="on_episode_end must be a function or a list of functions"):
        LambdaCallback(on_episode_end=given)


def test_a_function_that_asks_for_the_wrong_thing():
    with pytest.raises(TypeError, match="on_episode_end cannot call .* requires result"):
        LambdaCallback(on_episode_end=lambda result: 0)


def test_what_a_function_returns_does_not_stop_training():
    model = model_of(PPO, numbered((4,)))
    model.learn(12, callback=LambdaCallback(on_episode_step=lambda: False, on_train_result=lambda: False))
    assert model.num_timesteps == 12


def test_a_subclass_may_have_hooks_too():
    told = []

    class Both(LambdaCallback):
        def on_episode_end(self, *, episode, **kwargs):
            told.append("method")

    callback = Both(on_episode_end=lambda: told.append("function"))
    model_of(PPO, numbered((4,))).learn(6, callback=callback)
    assert told == ["method", "function"]
