"""Acting and evaluation with masks and a memory, and a task that needs both."""

import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.callbacks import MaskableEvalCallback
from sb3_contrib.common.maskable.evaluation import evaluate_policy
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from tests.algorithms.masked import RecallEnv, make_env, make_model
from velora_sb3 import RecurrentMaskablePPO, StatefulPredictor

OBSERVATION = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=np.float32)


EPISODES = 5


def evaluated_by_hand(model, n_envs, forgetting=False):
    """Returns of the first episodes of each environment, the state handed on or forgotten."""
    env = make_env(n_envs)
    observation, state, starts = env.reset(), None, np.ones(n_envs, dtype=bool)
    totals, returns = np.zeros(n_envs), [[] for _ in range(n_envs)]
    while min(map(len, returns)) < EPISODES:
        masks = np.stack(env.env_method("action_masks"))
        action, state = model.policy.predict(observation, None if forgetting else state, starts, True, masks)
        observation, reward, starts, _ = env.step(action)
        totals += reward
        for number in np.flatnonzero(starts):
            returns[number].append(totals[number])
            totals[number] = 0
    return sorted(total for of_one in returns for total in of_one[:EPISODES])


@pytest.mark.parametrize("n_envs", [1, 4])
@pytest.mark.parametrize("keeping", [lambda model: model, StatefulPredictor], ids=["model", "StatefulPredictor"])
def test_sb3_contrib_s_evaluation_keeps_the_memory(keeping, n_envs):
    model = make_model(policy_kwargs={"mixed_memory": False})
    model.policy.action_net.weight.data *= 100  # so that the memory decides
    by_hand = evaluated_by_hand(model, n_envs)
    assert by_hand != evaluated_by_hand(model, n_envs, forgetting=True)
    for _ in range(2):  # the second begins afresh
        returns, _ = evaluate_policy(
            keeping(model), make_env(n_envs), EPISODES * n_envs, return_episode_rewards=True, warn=False
        )
        assert sorted(returns) == by_hand


def test_a_callback_evaluates_with_memory_and_masks(tmp_path):
    model = make_model(VecNormalize(make_env(2)))
    states, predict = [], model.policy.predict

    def watched(observation, state, *args, **kwargs):
        states.append((state, kwargs["action_masks"]))
        return predict(observation, state, *args, **kwargs)

    model.policy.predict = watched
    callback = MaskableEvalCallback(
        VecNormalize(make_env(1), training=False),
        eval_freq=16,
        n_eval_episodes=2,
        warn=False,
        log_path=tmp_path / "log",
        best_model_save_path=tmp_path,
    )
    model.learn(64, callback=callback)
    assert len(callback.evaluations_results) == 2
    assert RecurrentMaskablePPO.load(tmp_path / "best_model").num_timesteps in (32, 64)
    lengths = np.array(callback.evaluations_length)
    assert len(states) == lengths.sum()
    assert all(masks.shape == (1, 4) for _, masks in states)
    assert [state is None for state, _ in states] == [True] + [False] * (len(states) - 1)


def test_without_a_state_the_memory_goes_on_where_episode_starts_are_told():
    model = make_model()
    going, fresh = np.zeros(2, dtype=bool), np.ones(2, dtype=bool)
    _, first = model.predict(OBSERVATION, episode_start=fresh)
    _, second = model.predict(OBSERVATION, first, going)
    _, again = model.predict(OBSERVATION, episode_start=fresh)
    np.testing.assert_array_equal(again, first)
    _, goes_on = model.predict(OBSERVATION, episode_start=going)
    np.testing.assert_array_equal(goes_on, second)
    _, one_starts = model.predict(OBSERVATION, episode_start=np.array([True, False]))
    np.testing.assert_array_equal(one_starts[0][:, 0], first[0][:, 0])
    assert not np.allclose(one_starts[0][:, 1], first[0][:, 1])

    _, of_another_size = model.predict(OBSERVATION[:1], episode_start=going[:1])
    np.testing.assert_allclose(of_another_size[0], first[0][:, :1], atol=1e-6)
    _, untold = model.predict(OBSERVATION)
    np.testing.assert_array_equal(untold, first)


LEARNING = {"n_steps": 20, "batch_size": 80, "n_epochs": 4, "learning_rate": 3e-3, "gamma": 1.0, "device": "cpu"}


@pytest.mark.parametrize("policy", ["LiquidPolicy", "MlpLstmPolicy"])
def test_a_cue_is_recalled(policy):
    size = {"units": 16} if policy == "LiquidPolicy" else {"lstm_hidden_size": 16}
    model = make_model(make_vec_env(RecallEnv, 8, seed=0), policy, size, **LEARNING).learn(3200)
    assert evaluate_policy(model, make_vec_env(RecallEnv, 4, seed=1), 60)[0] == 1.0


def test_without_a_memory_a_cue_is_recalled_half_of_the_time():
    model = MaskablePPO("MlpPolicy", make_vec_env(RecallEnv, 8, seed=0), **LEARNING).learn(320)
    last, chances = [], []
    for cue in (0, 1):
        env = RecallEnv()
        env.reset()
        env.cue = cue
        for _ in range(env.waits):
            observation, *_ = env.step(2)
        last.append(observation)
        with torch.no_grad():
            distribution = model.policy.get_distribution(torch.as_tensor(observation)[None], env.action_masks())
        chances.append(distribution.distribution.probs[0, cue].item())
    np.testing.assert_array_equal(*last)  # so the answer cannot depend on the cue, whatever is learned
    assert sum(chances) / 2 == pytest.approx(0.5, abs=1e-6)
