"""Episodes of evaluations reach the hooks, and nothing stays on anybody's objects."""

import gymnasium as gym
import numpy as np
import pytest
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.callbacks import MaskableEvalCallback
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import EvalCallback, EveryNTimesteps
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from tests.callbacks.hooks.hooked import Told, life, model_of
from tests.callbacks.hooks.numbered_env import Numbered, numbered
from tests.callbacks.hooks.test_metrics_logger import Rows
from velora_sb3.callbacks import LambdaCallback
from velora_sb3.callbacks.hooks.eval_tracker import summary


def evaluating(env, n_eval_episodes=3, eval_freq=6, kind=EvalCallback, **more):
    return kind(env, n_eval_episodes=n_eval_episodes, eval_freq=eval_freq, verbose=0, warn=False, **more)


@pytest.mark.parametrize("algorithm", [PPO, SAC])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("first", [False, True], ids=["hooks last", "hooks first"])
def test_episodes_of_an_evaluation(algorithm, normalize, first):
    told, evaluation = Told(), evaluating(numbered((4, 3), normalize))
    callbacks = [told, evaluation] if first else [evaluation, told]
    model_of(algorithm, numbered((4,), normalize)).learn(6, callback=callbacks)
    assert told.lives(in_evaluation=True, env=0) == life(0, 0, 4)
    assert told.lives(in_evaluation=True, env=1) == life(1, 0, 3) + life(1, 1, 3)
    assert told.lives(env=0) == life(0, 0, 4) + life(0, 1, 4, until=2)
    kinds = [one if isinstance(one, str) else one[0] for one in told.told]
    assert kinds.index("evaluate") < kinds.index("evaluated")
    assert told.told.count(("env", True)) == told.told.count(("env", False)) == 1
    sampled = [one[2] for one in told.told if one[0] == "sampled" and one[1]]
    assert sampled == [[(1, 0, 3), (0, 0, 4), (1, 1, 3)]]
    [metrics] = [one[1] for one in told.told if one[0] == "evaluated"]
    assert metrics["episode_return_mean"] == pytest.approx(evaluation.last_mean_reward if not normalize else 622 / 3)
    assert metrics["num_episodes"] == 3 and metrics["episode_return_max"] == 306.0


def test_with_monitor_it_is_what_sb3_logs():
    told = Told()
    evaluation = evaluating(DummyVecEnv([lambda: Monitor(Numbered())]), log_path=None)
    model_of(PPO, numbered((4,))).learn(12, callback=[told, evaluation])
    metrics = [one[1] for one in told.told if one[0] == "evaluated"]
    assert [one["episode_return_mean"] for one in metrics] == [evaluation.last_mean_reward] * 2 == [10.0] * 2


def test_environments_that_sb3_does_not_evaluate_begin_nothing():
    told = Told()
    model_of(PPO, numbered((4,))).learn(6, callback=[told, evaluating(numbered((4, 3, 2)), n_eval_episodes=1)])
    assert told.lives(in_evaluation=True) == life(2, 0, 2)


class Lives(gym.Wrapper):
    """Ends at every second step, as if a life were lost."""

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.over = terminated or truncated
        return observation, reward, terminated or self.env.unwrapped.step_number % 2 == 0, truncated, info

    def reset(self, **kwargs):
        if getattr(self, "over", True):
            return self.env.reset(**kwargs)
        observation, _, terminated, truncated, info = self.env.step(np.zeros(1))
        self.over = terminated or truncated
        return observation, info


def test_a_lost_life_is_no_end_where_monitor_says_so():
    lengths = []
    hook = LambdaCallback(
        on_episode_end=lambda episode: lengths.append(len(episode)) if episode.in_evaluation else None
    )
    evaluation = evaluating(DummyVecEnv([lambda: Lives(Monitor(Numbered(length=4)))]), n_eval_episodes=2)
    model_of(PPO, numbered((4,))).learn(6, callback=[hook, evaluation])
    assert lengths == [3, 3]


class Masked(Numbered):
    def __init__(self, **settings):
        super().__init__(discrete=True, **settings)

    def action_masks(self):
        return np.array([True, self.step_number % 2 == 0])


def test_masked_evaluation():
    told = Told()
    settings = {"n_steps": 6, "batch_size": 6, "n_epochs": 1, "seed": 0, "device": "cpu"}
    model = MaskablePPO("MlpPolicy", DummyVecEnv([Masked]), policy_kwargs={"net_arch": [4]}, **settings)
    model.learn(6, callback=[told, evaluating(DummyVecEnv([Masked]), 2, kind=MaskableEvalCallback)])
    assert told.lives(in_evaluation=True) == life(0, 0, 4) + life(0, 1, 4)
    assert told.lives() == life(0, 0, 4) + life(0, 1, 4, until=2)


def test_an_evaluation_within_an_event():
    told = Told()
    evaluation = evaluating(numbered((4,)), n_eval_episodes=1, eval_freq=1)
    model_of(PPO, numbered((4,))).learn(6, callback=[EveryNTimesteps(3, evaluation), told])
    assert told.lives(in_evaluation=True) == life(0, 0, 4) + life(0, 2, 4)  # the environments reset themselves, too


def test_metrics_of_evaluations_are_apart():
    def note(episode, metrics_logger):
        metrics_logger.log_value("return", episode.get_return(), reduce="sum")

    evaluation, rows = evaluating(numbered((3,)), n_eval_episodes=2), Rows()
    model = model_of(PPO, numbered((4,)))
    model.set_logger(Logger(None, [rows]))
    model.learn(6, callback=[LambdaCallback(on_episode_end=note), evaluation])
    found = [{name: row[name] for name in ("return", "eval/return") if name in row} for row in rows.rows]
    assert found == [{"return": 10.0, "eval/return": 12.0}, {}]


class TestNothingStays:
    def test_after_training(self):
        evaluation = evaluating(numbered((4,)))
        before, env_before = dict(vars(evaluation)), dict(vars(evaluation.eval_env))
        model_of(PPO, numbered((4,))).learn(12, callback=[Told(), evaluation])
        assert evaluation.evaluations_results == before["evaluations_results"]
        assert vars(evaluation).keys() == before.keys() | {"model"}
        assert vars(evaluation.eval_env).keys() == env_before.keys() | {"actions"}  # SB3's own

    def test_what_a_user_had_put_there_stays(self):
        calls, evaluation = [], evaluating(numbered((4,)))
        mine = evaluation._log_success_callback = lambda *_: calls.append(1)
        model_of(PPO, numbered((4,))).learn(6, callback=[Told(), evaluation])
        assert evaluation._log_success_callback is mine
        assert len(calls) == 12

    @pytest.mark.parametrize("hook", ["on_episode_step", "on_evaluate_start", "on_evaluate_end"])
    def test_after_an_error(self, hook):
        def fail(in_evaluation=True):
            raise RuntimeError("as the test wants it")

        def step(episode):
            if episode.in_evaluation:
                fail()

        evaluation = evaluating(numbered((4,)))
        callback = LambdaCallback(**{hook: step if hook == "on_episode_step" else lambda: fail()})
        model = model_of(PPO, numbered((4,)))
        with pytest.raises(RuntimeError, match="as the test wants it"), callback:
            model.learn(12, callback=[callback, evaluation])
        assert "reset" not in vars(evaluation.eval_env)
        assert not {"_on_step", "_log_success_callback"} & vars(evaluation).keys()
        assert len(model.logger.output_formats) == 0


def test_summary():
    assert summary([]) == {"num_episodes": 0}
    assert summary([(1.0, 2), (4.0, 3)]) == {
        "num_episodes": 2,
        "episode_return_mean": 2.5,
        "episode_return_min": 1.0,
        "episode_return_max": 4.0,
        "episode_len_mean": 2.5,
    }
