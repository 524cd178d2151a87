import json

import numpy as np
import pytest
from PIL import Image
from sb3_contrib import ARS
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import EveryNTimesteps

from tests.callbacks.plots.test_episode_values import environments
from tests.callbacks.runs import ALGORITHMS, RaiseAt, make_env, make_model, recorded
from velora_sb3.callbacks import PerformancePlots


def drawn(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def test_pictures_at_intervals_and_at_the_end(tmp_path):
    plots = PerformancePlots(tmp_path / "plots", every_n_timesteps=20)
    make_model(PPO, make_env(tmp_path, n_envs=3)).learn(48, callback=plots)
    names = ["Steps_21_steps.png", "Steps_42_steps.png", "Steps_final.png"]
    assert [path.name for path in plots.pictures] == names
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == names
    first, last = drawn(plots.pictures[0]), drawn(plots.pictures[-1])
    assert first.shape == last.shape
    assert (first != last).any()


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, ARS])
def test_it_draws_every_episode_of_every_algorithm(algorithm, tmp_path):
    env = make_env(tmp_path, algorithm)
    ars = {"n_delta": 2, "seed": 0, "device": "cpu"}
    model = ARS("LinearPolicy", env, **ars) if algorithm is ARS else make_model(algorithm, env)
    plots = PerformancePlots(tmp_path / "plots", every_n_timesteps=10**6)
    model.learn(40, callback=plots)
    frame = plots.frame()
    if algorithm is not ARS:  # which reports the sums of its rollouts
        returns, lengths = zip(*recorded(tmp_path, 0), strict=True)
        assert (frame["return"].tolist(), frame["length"].tolist()) == (pytest.approx(returns), list(lengths))
        assert frame["timesteps"].tolist() == np.cumsum(frame["length"]).tolist()
    assert len(frame) > 3
    assert frame["value"].isna().all()
    assert [path.name for path in plots.pictures] == ["Steps_final.png"]


@pytest.mark.parametrize("algorithm", [PPO, SAC])
def test_portfolio_values_have_a_panel(algorithm, tmp_path):
    from gymnasium import spaces

    from tests.callbacks.plots.test_episode_values import Portfolio
    from tests.callbacks.runs import Steps

    with_values = make_env(tmp_path, algorithm, n_envs=2)
    with_values.envs = [Portfolio(Steps(spaces.Box(-1, 1, (1,)), length=4 + index)) for index in range(2)]
    plots = PerformancePlots(tmp_path / "plots", every_n_timesteps=10**6)
    make_model(algorithm, with_values).learn(32, callback=plots)
    frame = plots.frame()
    assert sorted(zip(frame["length"], frame["value"], strict=True)) == [(4, 104)] * 4 + [(5, 105)] * 3
    without = PerformancePlots(tmp_path / "without", every_n_timesteps=10**6)
    make_model(PPO, make_env(tmp_path, n_envs=2)).learn(32, callback=without)
    assert drawn(plots.pictures[0]).shape[0] > drawn(without.pictures[0]).shape[0] * 1.4  # three panels for two


def test_values_of_episodes_that_wait_for_an_event_are_in_the_state(tmp_path):
    model, first, second = make_model(PPO, environments("here")), *(PerformancePlots(tmp_path) for _ in range(2))
    model.learn(32, callback=EveryNTimesteps(64, first))  # no event
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    model.learn(32, callback=EveryNTimesteps(64, second), reset_num_timesteps=False)
    ends = sorted([(8 * n, 4, 104) for n in range(1, 9)] + [(10 * n, 5, 105) for n in range(1, 7)])
    assert sorted(zip(*(second.frame()[key] for key in ("timesteps", "length", "value")), strict=True)) == ends


def test_a_value_that_info_lacks_stops_training(tmp_path):
    plots = PerformancePlots(tmp_path / "plots", value="wealth")
    with pytest.raises(ValueError, match="value='wealth' is not in info"):
        make_model(PPO, environments("here")).learn(32, callback=plots)


def test_in_an_event_it_draws_each_time_with_all_episodes(tmp_path):
    env = make_env(tmp_path, length=4)
    plots = PerformancePlots(tmp_path / "plots", every_n_timesteps=10**6, value=lambda info: 7.0)
    with plots:
        make_model(PPO, env).learn(32, callback=EveryNTimesteps(10, plots))
    assert [path.name for path in plots.pictures] == [
        "Steps_10_steps.png", "Steps_20_steps.png", "Steps_30_steps.png", "Steps_final.png",
    ]  # fmt: skip
    assert plots.frame()["timesteps"].tolist() == [4, 8, 12, 16, 20, 24, 28]  # the one at 32 had no event any more
    assert set(plots.frame()["value"]) == {7.0}


def test_a_resumed_run_draws_the_episodes_of_both(tmp_path):
    model = make_model(PPO, make_env(tmp_path, length=4))
    whole = PerformancePlots(tmp_path / "whole")
    parts = [PerformancePlots(tmp_path / "parts"), PerformancePlots(tmp_path / "parts")]
    model.learn(32, callback=[whole, parts[0]])
    parts[1].load_state_dict(json.loads(json.dumps(parts[0].state_dict())))
    model.learn(16, callback=[whole, parts[1]], reset_num_timesteps=False)
    assert parts[1].frame().equals(whole.frame())
    assert parts[1].frame()["timesteps"].tolist() == list(range(4, 49, 4))
    model.learn(16, callback=whole)  # from 0 again
    assert whole.frame()["timesteps"].tolist() == [4, 8, 12, 16]


def test_a_state_does_not_grow_without_end(monkeypatch, tmp_path):
    monkeypatch.setattr("velora_sb3.callbacks.plots.episode_plots.MAX_STORED", 5)
    plots = PerformancePlots(tmp_path / "plots")
    assert plots.state_dict()["rows"] == []
    make_model(PPO, make_env(tmp_path, length=4)).learn(48, callback=plots)
    assert [row[0] for row in plots.state_dict()["rows"]] == [4, 16, 28, 40]


def test_an_interrupted_run_has_its_picture(tmp_path):
    with pytest.raises(KeyboardInterrupt), PerformancePlots(tmp_path / "plots") as plots:
        make_model(PPO, make_env(tmp_path)).learn(32, callback=[plots, RaiseAt(20)])
    assert [path.name for path in plots.pictures] == ["Steps_final.png"]


def test_a_picture_that_cannot_be_written_is_one_warning(tmp_path):
    plots = PerformancePlots(tmp_path / "plots", every_n_timesteps=8)
    model = make_model(PPO, make_env(tmp_path))
    (tmp_path / "plots" / "Steps_8_steps.png").mkdir(parents=True)
    (tmp_path / "plots" / "Steps_16_steps.png").mkdir()
    with pytest.warns(
        RuntimeWarning, match="PerformancePlots could not draw a plot and will try again later"
    ) as warned:
        model.learn(32, callback=plots)
    assert len(warned) == 1
    assert [path.name for path in plots.pictures] == ["Steps_24_steps.png", "Steps_32_steps.png", "Steps_final.png"]
    assert not list((tmp_path / "plots").glob(".*"))


def test_it_says_what_it_does(tmp_path, capsys):
    plots = PerformancePlots(tmp_path / "plots", verbose=1)
    make_model(PPO, make_env(tmp_path)).learn(16, callback=plots)
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"PerformancePlots: plots every 10,000 timesteps and at the end to {tmp_path / 'plots'}"
    assert second == f"PerformancePlots: wrote {tmp_path / 'plots' / 'Steps_final.png'}"
    assert plots.config()[1]["value"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"every_n_timesteps": 0}, "every_n_timesteps must be an integer of at least 1, got 0"),
        ({"window": 0}, "window must be an integer of at least 1, got 0"),
        ({"value": 3}, "value must be a key of info, a function of info, or None, got 3"),
    ],
)
def test_bad_arguments(arguments, said):
    with pytest.raises(ValueError, match=said):
        PerformancePlots(**arguments)


def test_without_matplotlib(monkeypatch):
    monkeypatch.setattr("velora_sb3._optional.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'PerformancePlots needs matplotlib: pip install "velora-sb3\[plot\]"'):
        PerformancePlots()


def test_plots_go_where_the_program_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    plots = PerformancePlots("plots")
    monkeypatch.chdir("elsewhere")
    make_model(PPO, make_env(tmp_path)).learn(16, callback=plots)
    assert [path.parent for path in plots.pictures] == [tmp_path / "plots"]
