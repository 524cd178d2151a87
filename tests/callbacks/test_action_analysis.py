import csv
import json

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from sb3_contrib import ARS
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import EveryNTimesteps
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv

from tests.callbacks.runs import ALGORITHMS, Steps, make_env, make_model
from velora_sb3.callbacks import ActionAnalysis
from velora_sb3.callbacks.action_statistics import ActionStatistics


class Remember(gym.Wrapper):
    """Keeps the actions that the environment got."""

    def __init__(self, env):
        super().__init__(env)
        self.actions = []

    def step(self, action):
        self.actions.append(np.array(action))
        return self.env.step(action)


def remembering(algorithm, space, n_envs=2, **settings):
    env = DummyVecEnv([lambda: Remember(Steps(space)) for _ in range(n_envs)])
    env.seed(0)
    space.seed(0)
    return make_model(algorithm, env, **settings)


def executed(model, space, first, last):
    """Statistics of what the environments got in these steps."""
    statistics = ActionStatistics(space, None)
    for env in model.env.envs:
        statistics.add(np.array(env.actions[first:last]))
    return statistics.summary()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_sees_what_the_environments_got(algorithm, tmp_path):
    space = spaces.Discrete(2) if algorithm.__name__ == "DQN" else spaces.Box(-0.5, 3, (2,))
    model = remembering(algorithm, space)
    analysis = ActionAnalysis(20)
    model.learn(60, callback=analysis)
    steps = len(model.env.envs[0].actions) // 10 * 10  # 10 steps of both environments between two logs
    assert analysis.latest == pytest.approx(executed(model, space, steps - 10, steps), abs=1e-6)


def test_actions_of_ppo_are_the_clipped_ones(tmp_path):
    space = spaces.Box(-0.1, 0.1, (1,))
    model, analysis = remembering(PPO, space), ActionAnalysis(32)
    model.learn(32, callback=analysis)
    assert analysis.latest["0_at_bounds"] > 0.5
    assert (analysis.latest["0_min"], analysis.latest["0_max"]) == pytest.approx((-0.1, 0.1))


def test_it_logs_to_sb3s_logger(tmp_path):
    model = remembering(PPO, spaces.Discrete(2))
    model.set_logger(configure(str(tmp_path / "log"), ["csv"]))
    model.learn(64, callback=ActionAnalysis(32, names=["left", "right"]))
    model.logger.close()
    with (tmp_path / "log" / "progress.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    assert all(float(row["actions/left_share"]) + float(row["actions/right_share"]) == 1 for row in rows)
    assert all(float(row["actions/entropy"]) <= np.log(2) for row in rows)


def test_it_prints_a_line(tmp_path, capsys):
    remembering(SAC, spaces.Box(-1, 1, (1,))).learn(24, callback=ActionAnalysis(20, verbose=1))
    first, second = capsys.readouterr().out.splitlines()
    assert first == "ActionAnalysis(every_n_timesteps=20, names=None, histogram=None)"
    assert second.startswith("ActionAnalysis: magnitude 0.")
    assert second.endswith("over 20 actions at 20 timesteps")


@pytest.mark.parametrize("space", [spaces.Discrete(2), spaces.MultiDiscrete([3]), spaces.Box(-1, 1, (2,))])
def test_the_histogram_is_drawn_at_the_end(space, tmp_path):
    from PIL import Image

    path = tmp_path / "pictures" / "actions.png"
    remembering(PPO, space).learn(64, callback=ActionAnalysis(32, histogram=path))
    assert [file.name for file in path.parent.iterdir()] == ["actions.png"]
    with Image.open(path) as picture:
        assert np.asarray(picture.convert("RGB")).std() > 5


def test_a_histogram_that_cannot_be_written_is_a_warning(tmp_path):
    (tmp_path / "file").write_text("precious")
    model, analysis = remembering(PPO, spaces.Discrete(2)), ActionAnalysis(32, histogram=tmp_path / "file" / "a.png")
    with pytest.warns(RuntimeWarning, match="ActionAnalysis could not write .*a.png"):
        model.learn(32, callback=analysis)
    assert (tmp_path / "file").read_text() == "precious"


def test_a_state_goes_on(tmp_path):
    model, whole = remembering(PPO, spaces.Discrete(2)), ActionAnalysis(50)
    parts = [ActionAnalysis(50), ActionAnalysis(50)]
    model.learn(32, callback=[whole, parts[0]])
    parts[1].load_state_dict(json.loads(json.dumps(parts[0].state_dict())))
    model.learn(32, callback=[whole, parts[1]], reset_num_timesteps=False)
    assert parts[0].latest == {}
    assert parts[1].latest == whole.latest != {}
    expected = executed(model, spaces.Discrete(2), 0, 25)
    assert whole.latest == pytest.approx(expected)


def test_a_new_run_starts_anew(tmp_path):
    model, analysis = remembering(PPO, spaces.Discrete(2)), ActionAnalysis(50)
    model.learn(32, callback=analysis)
    model.learn(64, callback=analysis)
    assert analysis.latest == pytest.approx(executed(model, spaces.Discrete(2), 16, 16 + 25))


def test_ars_shows_no_actions(tmp_path):
    model = ARS("LinearPolicy", make_env(tmp_path, ARS), n_delta=2, seed=0, device="cpu")
    with pytest.warns(UserWarning, match="ARS does not report actions to callbacks"):
        model.learn(20, callback=(analysis := ActionAnalysis(5)))
    assert analysis.latest == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"every_n_timesteps": 0}, "every_n_timesteps must be an integer of at least 1, got 0"),
        ({"names": "left"}, "names must be a list of distinct strings, got 'left'"),
        ({"names": ["left", "left"]}, "names must be a list of distinct strings"),
        ({"histogram": "actions.txt"}, "histogram must be a .png, .svg or .pdf file, got 'actions.txt'"),
    ],
)
def test_bad_arguments(arguments, said):
    with pytest.raises(ValueError, match=said):
        ActionAnalysis(**arguments)


def test_where_it_cannot_stand(tmp_path):
    model = remembering(PPO, spaces.Discrete(2))
    with pytest.raises(ValueError, match="not to EveryNTimesteps"):
        model.learn(32, callback=EveryNTimesteps(10, ActionAnalysis()))
    with pytest.raises(ValueError, match="names must have 2 entries for Discrete"):
        model.learn(32, callback=ActionAnalysis(names=["left", "middle", "right"]))


def test_a_histogram_needs_matplotlib(monkeypatch):
    monkeypatch.setattr("velora_sb3._optional.find_spec", lambda name: None)
    ActionAnalysis()
    with pytest.raises(ImportError, match=r'needs matplotlib: pip install "velora-sb3\[plot\]"'):
        ActionAnalysis(histogram="actions.png")


def test_nan_in_actions_does_not_end_training():
    statistics = ActionStatistics(spaces.Box(-1, 1, (1,)), None)
    statistics.add(np.array([[np.nan], [0.5]]))
    assert statistics.histograms()[0][2].sum() == 0.5


def test_the_histogram_goes_where_the_program_started(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    analysis = ActionAnalysis(16, histogram="actions.png")
    monkeypatch.chdir("elsewhere")
    make_model(PPO, make_env(tmp_path)).learn(16, callback=analysis)
    assert (tmp_path / "actions.png").exists()
