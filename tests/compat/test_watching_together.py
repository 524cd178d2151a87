"""The callbacks that watch, all at once, in several environments; none of them changes what is learned."""

import numpy as np
import pytest
from stable_baselines3 import PPO, SAC

from tests.callbacks.runs import make_env, make_model, recorded, weights
from velora_sb3.callbacks import (
    ActionAnalysis,
    EarlyStopping,
    LearningRateScheduler,
    LiveMonitor,
    PerformancePlots,
    ResourceMonitor,
    SaveCheckpoints,
)


def learned(algorithm, path, callbacks):
    env = make_env(path, algorithm, n_envs=2)
    env.seed(0)
    env.action_space.seed(0)
    model = make_model(algorithm, env)
    model.learn(96, callback=[LearningRateScheduler("linear", initial_lr=0.01), *callbacks])
    return model


@pytest.mark.parametrize("algorithm", [PPO, SAC])
def test_all_together(algorithm, tmp_path):
    (tmp_path / "alone").mkdir()
    plots = PerformancePlots(tmp_path / "plots", every_n_timesteps=50)
    actions = ActionAnalysis(50, histogram=tmp_path / "plots" / "actions.png")
    resources, live = ResourceMonitor(50), LiveMonitor(50)
    save = SaveCheckpoints("run", frequency=10, root=tmp_path / "checkpoints")
    watched = learned(algorithm, tmp_path, [plots, actions, resources, live, save, EarlyStopping(1e9)])
    alone = learned(algorithm, tmp_path / "alone", [])

    assert weights(watched).equal(weights(alone))
    names = {"Steps_50_steps.png", "Steps_final.png", "actions.png"}
    assert {path.name for path in (tmp_path / "plots").iterdir()} == names
    returns = sorted(total for index in range(2) for total, _ in recorded(tmp_path, index))
    assert sorted(plots.frame()["return"]) == pytest.approx(returns)
    assert -1 <= actions.latest["0_min"] < actions.latest["0_mean"] < actions.latest["0_max"] <= 1
    assert resources.peak_mb > 10
    assert np.isfinite(list(actions.latest.values())).all()
    assert len(save.saved) > 1
