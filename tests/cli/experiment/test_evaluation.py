import numpy as np
import pandas as pd
import pytest
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import PPO

from velora_sb3 import RecurrentMaskablePPO
from velora_sb3.cli.experiment.environments import open_vec_env
from velora_sb3.cli.experiment.evaluation import MaskedEvaluateByTimesteps, evaluate_model, evaluation_callback


def ppo(n_envs, algorithm=PPO, env="CartPole-v1"):
    policy = "MlpLstmPolicy" if issubclass(algorithm, RecurrentPPO) else "MlpPolicy"
    return algorithm(policy, open_vec_env(env, n_envs, 0), n_steps=30, batch_size=30, seed=0, device="cpu")


def test_evaluations_come_when_a_multiple_is_crossed(tmp_path):
    model = ppo(n_envs=3)
    callback = evaluation_callback(type(model), open_vec_env("CartPole-v1", 1, 1), 50, tmp_path, n_episodes=2)
    model.learn(180, callback=callback)
    expected = [51, 102, 150]  # multiples of 50 seen by a count that jumps by 3
    saved = np.load(tmp_path / "evaluations.npz")
    assert saved["timesteps"].tolist() == expected
    assert saved["results"].shape == (3, 2)
    table = pd.read_csv(tmp_path / "evaluations.csv")
    assert table["timesteps"].tolist() == expected
    np.testing.assert_allclose(table["mean_return"], saved["results"].mean(axis=1), atol=1e-4)
    np.testing.assert_allclose(table["std_return"], saved["results"].std(axis=1), atol=1e-4)
    np.testing.assert_allclose(table["mean_length"], saved["ep_lengths"].mean(axis=1), atol=1e-4)


@pytest.mark.parametrize("algorithm", [MaskablePPO, RecurrentMaskablePPO])
def test_masks_are_kept(algorithm, tmp_path):
    model = ppo(1, algorithm, "VeloraMasked-v0")
    env = open_vec_env("VeloraMasked-v0", 1, 1)
    assert isinstance(evaluation_callback(type(model), env, 10, tmp_path), MaskedEvaluateByTimesteps)
    returns, lengths = evaluate_model(model, env, 3, deterministic=False)
    assert returns == [10.0] * 3  # no forbidden action, though the policy has learned nothing
    assert lengths == [10] * 3


def test_a_recurrent_model_keeps_its_state(monkeypatch):
    model = ppo(1, RecurrentPPO)
    states = []
    predict = model.predict

    def watched(observation, state=None, **kwargs):
        states.append(state)
        return predict(observation, state=state, **kwargs)

    monkeypatch.setattr(model, "predict", watched)
    _, lengths = evaluate_model(model, open_vec_env("CartPole-v1", 1, 1), 2)
    assert states[0] is None
    assert len(states) == sum(lengths)
    assert all(state is not None for state in states[1:])
    assert np.abs(states[1][0]).sum() > 0
