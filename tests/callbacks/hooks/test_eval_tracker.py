"""Episodes of evaluations reach the hooks, and nothing is written into SB3's objects."""

import gymnasium as gym
import numpy as np
import pytest
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO, SAC
from stable_baselines3.common import callbacks as sb3
from stable_baselines3.common.callbacks import EveryNTimesteps
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from tests.callbacks.hooks.hooked import Told, life, model_of
from tests.callbacks.hooks.numbered_env import Numbered, numbered
from tests.callbacks.hooks.test_metrics_logger import Rows
from velora_sb3.callbacks import EvalCallback, LambdaCallback, MaskableEvalCallback
from velora_sb3.callbacks.hooks import eval_callback
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


def test_an_episode_that_does_not_end_is_named(monkeypatch):
    monkeypatch.setattr(eval_callback, "LONG_EPISODE", 3)
    with pytest.warns(UserWarning, match="an episode of the evaluation has taken 3 steps") as told:
        model_of(PPO, numbered((4,))).learn(6, callback=evaluating(numbered((4,)), n_eval_episodes=1))
    assert len(told) == 1


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
    assert lengths == [4, 4]  # as SB3 counts: one step is hidden in reset()


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


def evaluate_once(evaluation, *callbacks, env=None, timesteps=6):
    model = model_of(PPO, numbered((4,)) if env is None else env)
    model.learn(timesteps, callback=[*callbacks, evaluation])
    return model


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("listening", [False, True])
def test_it_evaluates_as_sb3s_own(normalize, listening, tmp_path):
    results = []
    for kind in (sb3.EvalCallback, EvalCallback):
        evaluation = evaluating(numbered((4, 3), normalize), kind=kind, log_path=str(tmp_path))
        hooks = [LambdaCallback(on_episode_end=lambda: None)] if listening else []
        evaluate_once(evaluation, *hooks, env=numbered((4,), normalize), timesteps=12)
        statistics = evaluation.eval_env.obs_rms.mean.tolist() if normalize else None  # synced before each evaluation
        results.append((evaluation.evaluations_results, evaluation.evaluations_length, statistics))
    assert results[0] == results[1]


class TestNothingStays:
    def test_after_training(self):
        evaluation = evaluating(numbered((4,)))
        before, env_before = dict(vars(evaluation)), dict(vars(evaluation.eval_env))
        evaluate_once(evaluation, Told(), timesteps=12)
        assert vars(evaluation).keys() == before.keys() | {"model", "listener", "_before_reset"}
        assert evaluation.listener is None
        assert evaluation.eval_env is before["eval_env"]
        assert vars(evaluation.eval_env).keys() == env_before.keys() | {"actions"}  # SB3's own

    def test_children_see_the_environments_themselves(self):
        seen = []
        children = {
            name: sb3.ConvertCallback(lambda *_: seen.append((evaluation.eval_env, evaluation.training_env)) or True)
            for name in ("callback_on_new_best", "callback_after_eval")
        }
        evaluation, training = evaluating(numbered((4,)), **children), numbered((4,))
        env = evaluation.eval_env
        evaluate_once(evaluation, Told(), env=training)
        assert seen == [(env, training)] * 2

    def test_a_callback_of_sb3_is_never_written_to(self):
        evaluation = evaluating(numbered((4,)), kind=sb3.EvalCallback)
        before, env_before = set(vars(evaluation)), set(vars(evaluation.eval_env))
        inside = []
        hook = LambdaCallback(
            on_episode_step=lambda: inside.append((set(vars(evaluation)), set(vars(evaluation.eval_env))))
        )
        evaluate_once(evaluation, hook, timesteps=12)
        assert all(keys <= before | {"model"} and env_keys <= env_before | {"actions"} for keys, env_keys in inside)

    @pytest.mark.parametrize("hook", ["on_episode_start", "on_episode_step", "on_evaluate_start", "on_evaluate_end"])
    def test_after_an_error(self, hook):
        def fail(in_evaluation=True):
            raise RuntimeError("as the test wants it")

        def episode_hook(episode):
            if episode.in_evaluation:
                fail()

        evaluation = evaluating(numbered((4,)))
        env = evaluation.eval_env
        callback = LambdaCallback(**{hook: episode_hook if "episode" in hook else lambda: fail()})
        model = model_of(PPO, numbered((4,)))
        with pytest.raises(RuntimeError, match="as the test wants it"), callback:
            model.learn(12, callback=[callback, evaluation])
        assert evaluation.eval_env is env
        assert evaluation.listener is None
        assert len(model.logger.output_formats) == 0


class TestSB3sOwn:
    """It announces a row of the logger, and nothing else."""

    @pytest.mark.parametrize("first", [False, True], ids=["hooks last", "hooks first"])
    def test_the_end_of_an_evaluation(self, first):
        evaluation, seen = evaluating(numbered((4, 3)), kind=sb3.EvalCallback), []
        hook = LambdaCallback(on_evaluate_end=lambda evaluation, evaluation_metrics: seen.append(evaluation_metrics))
        model_of(PPO, numbered((4,))).learn(12, callback=[hook, evaluation] if first else [evaluation, hook])
        expected = {"num_episodes": 3, "episode_return_mean": 622 / 3, "episode_len_mean": 10 / 3}
        assert seen == [{"env_runners": pytest.approx(expected)}] * 2

    def test_which_one_has_evaluated(self):
        short, long = (evaluating(numbered((n,)), kind=sb3.EvalCallback, eval_freq=n) for n in (3, 4))
        seen = []
        hook = LambdaCallback(on_evaluate_end=lambda evaluation: seen.append(evaluation))
        model_of(PPO, numbered((4,))).learn(12, callback=[hook, short, long])
        assert seen == [short, long, short, long, short, short, long]

    def test_beside_one_of_ours(self):
        ours, plain, seen = evaluating(numbered((4,))), evaluating(numbered((3,)), kind=sb3.EvalCallback), []
        evaluate_once(ours, plain, LambdaCallback(on_evaluate_end=lambda evaluation: seen.append(evaluation)))
        assert sorted(map(id, seen)) == sorted(map(id, [ours, plain]))

    def test_its_last_evaluation_may_stop_training(self):
        stop = sb3.StopTrainingOnRewardThreshold(0)
        evaluation, seen = evaluating(numbered((4,)), kind=sb3.EvalCallback, callback_on_new_best=stop), []
        evaluate_once(evaluation, LambdaCallback(on_evaluate_end=lambda: seen.append(1)), timesteps=12)
        assert seen == [1]

    def test_its_episodes_are_not_announced(self):
        seen = []
        hook = LambdaCallback(on_episode_end=lambda episode: seen.append(episode.in_evaluation))
        evaluate_once(evaluating(numbered((4,)), kind=sb3.EvalCallback), hook)
        assert seen == [False]

    def test_a_hook_that_is_not_called_warns(self):
        hook = LambdaCallback(on_evaluate_start=lambda: None)
        with pytest.warns(UserWarning, match="not called for SB3's own EvalCallback.*velora_sb3.callbacks"):
            evaluate_once(evaluating(numbered((4,)), kind=sb3.EvalCallback), hook)


def test_summary():
    assert summary([]) == {"num_episodes": 0}
    assert summary([(1.0, 2), (4.0, 3)]) == {
        "num_episodes": 2,
        "episode_return_mean": 2.5,
        "episode_return_min": 1.0,
        "episode_return_max": 4.0,
        "episode_len_mean": 2.5,
    }
