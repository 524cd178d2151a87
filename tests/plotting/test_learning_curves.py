import sys

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from velora_sb3.plotting import read_runs
from velora_sb3.plotting.learning_curves import MAX_POINTS, learning_curves, over_runs

BLUE, ORANGE, GREEN = (0, 114, 178), (213, 94, 0), (0, 158, 115)
COLUMNS = ["run", "run_id", "algorithm", "env", "seed", "status", "episode", "return", "timesteps", "seconds"]


def run(number, algorithm="PPO", env="CartPole-v1", n=40, offset=0.0, **others):
    """The rows that load_metrics would have for one run."""
    episode = np.arange(1, n + 1)
    values = {
        "run": f"run {number}",
        "run_id": number,
        "algorithm": algorithm,
        "env": env,
        "seed": pd.array([number] * n, dtype="Int64"),
        "status": "finished",
        "episode": episode,
        "return": offset + 10.0 * episode,
        "timesteps": 20 * episode,
        "seconds": 0.1 * episode,
    }
    return pd.DataFrame({**values, **others})


def drawn(path, *runs, **settings):
    learning_curves(pd.concat(runs, ignore_index=True), **settings).savefig(path)
    pixels = matplotlib.image.imread(path)[..., :3]
    colours = {tuple(colour) for colour in np.rint(255 * pixels.reshape(-1, 3)).astype(int).tolist()}
    return pixels.shape[:2], colours


@pytest.fixture
def texts(monkeypatch):
    """Legends, titles and labels of the pictures that are saved."""
    from matplotlib.figure import Figure

    found = []

    def savefig(self, *arguments, save=Figure.savefig, **settings):
        for axes in self.axes:
            legend = axes.get_legend()
            found.append(
                {
                    "title": axes.get_title(),
                    "x": axes.get_xlabel(),
                    "y": axes.get_ylabel(),
                    "legend": [text.get_text() for text in legend.get_texts()] if legend else [],
                    "lines": {line.get_label(): line.get_xydata() for line in axes.get_lines()},
                    "bands": [band.get_paths()[0].vertices for band in axes.collections],
                }
            )
        save(self, *arguments, **settings)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return found


def test_a_group_is_a_mean_and_a_band(tmp_path, texts):
    size, colours = drawn(tmp_path / "x.png", run(1), run(2, offset=30.0), run(3, offset=90.0), smooth=1)
    assert size == (540, 960)
    assert BLUE in colours
    assert ORANGE not in colours
    (panel,) = texts
    assert panel["legend"] == ["PPO (3 runs)", "95 % bootstrap interval"]
    steps = 20.0 * np.arange(1, 41)
    np.testing.assert_allclose(panel["lines"]["PPO (3 runs)"], np.stack([steps, steps / 2 + 40], axis=1))
    (band,) = panel["bands"]
    assert band[:, 1].min() == 10
    assert band[:, 1].max() == 490
    assert (panel["title"], panel["x"], panel["y"]) == ("CartPole-v1", "timesteps", "episode return")


def test_one_line_for_each_group_and_one_panel_for_each_env(tmp_path, texts):
    runs = [run(1), run(2, "DQN"), run(3, "DQN"), run(4, "DDPG", "Pendulum-v1"), run(5, "PPO", "Pendulum-v1")]
    size, colours = drawn(tmp_path / "x.png", *runs)
    assert {BLUE, ORANGE, GREEN} <= colours
    assert size == (540, 1440)
    assert [(panel["title"], panel["legend"]) for panel in texts] == [
        ("CartPole-v1", ["DQN (2 runs)", "PPO (1 run)", "95 % bootstrap interval"]),
        ("Pendulum-v1", ["DDPG (1 run)", "PPO (1 run)"]),
    ]


@pytest.mark.parametrize(
    ("group_by", "legend"),
    [
        (["run"], ["run 1 (1 run)", "run 2 (1 run)"]),
        (["algorithm", "seed"], ["PPO, seed 1 (1 run)", "PPO, seed none (1 run)"]),
        (["env"], ["all (2 runs)", "95 % bootstrap interval"]),
        ([], ["all (2 runs)", "95 % bootstrap interval"]),
    ],
)
def test_groups(group_by, legend, tmp_path, texts):
    drawn(tmp_path / "x.png", run(1), run(2, seed=pd.array([pd.NA] * 40, dtype="Int64")), group_by=group_by)
    assert texts[0]["legend"] == legend


@pytest.mark.parametrize(("x", "first", "label"), [("episodes", 1, "episodes"), ("seconds", 0.1, "training time (s)")])
def test_to_the_right(x, first, label, tmp_path, texts):
    drawn(tmp_path / "x.png", run(1), x=x)
    assert texts[0]["x"] == label
    assert texts[0]["lines"]["PPO (1 run)"][0, 0] == pytest.approx(first)


def test_smoothing(tmp_path, texts):
    drawn(tmp_path / "x.png", run(1), smooth=5)
    drawn(tmp_path / "x.png", run(1))  # a tenth of 40
    assert [panel["y"] for panel in texts] == [f"episode return (mean of last {n})" for n in (5, 4)]
    line = texts[0]["lines"]["PPO (1 run)"]
    assert line[-1].tolist() == [800, np.mean([360, 370, 380, 390, 400])]
    assert line[1].tolist() == [40, 15]


def test_a_single_run_shows_its_episodes(tmp_path, texts):
    drawn(tmp_path / "x.png", run(1))
    assert texts[0]["legend"] == ["episodes", "PPO (1 run)"]
    assert len(texts[0]["lines"]["episodes"]) == 40


def test_where_a_run_has_ended_the_line_is_dotted(tmp_path, texts):
    drawn(tmp_path / "x.png", run(1), run(2, n=10, offset=100.0), smooth=1)
    assert texts[0]["legend"] == ["PPO (2 runs)", "95 % bootstrap interval", "dotted: some runs have ended"]
    both = texts[0]["lines"]["PPO (2 runs)"]
    assert both[9].tolist() == [200, 150]
    assert both[~np.isnan(both[:, 1])][-1, 0] < 240  # held for a twentieth of the way
    dotted = next(line for label, line in texts[0]["lines"].items() if label.startswith("_"))
    assert dotted[-1].tolist() == [800, 400]


def test_nothing_and_next_to_nothing(tmp_path, texts):
    _, nothing = drawn(tmp_path / "0.png", run(1).head(0))
    _, one = drawn(tmp_path / "1.png", run(1, n=1))
    _, three = drawn(tmp_path / "3.png", run(1, n=1), run(2, n=1, timesteps=25), run(3, n=1, timesteps=30))
    _, no_number = drawn(tmp_path / "n.png", run(1, offset=np.nan), smooth=1)
    assert BLUE in one
    assert BLUE in three
    assert BLUE not in nothing | no_number
    assert [panel["legend"] for panel in texts] == [[], ["PPO (1 run)"], ["PPO (3 runs)"], []]


def test_a_legend_of_many_lines_fits_into_its_panel():
    runs = [run(number, env=f"E{number % 2}") for number in range(100, 180)]
    figure = learning_curves(pd.concat(runs, ignore_index=True), group_by=["run"], smooth=1)
    figure.canvas.draw()
    for axes, last in zip(figure.axes, ["run 128 (1 run)", "run 129 (1 run)"], strict=True):
        legend = axes.get_legend()
        assert [text.get_text() for text in legend.get_texts()][-2:] == [last, "and 25 more"]
        assert axes.bbox.y0 <= legend.get_window_extent().y0


def test_several_episodes_at_one_timestep_count_as_their_last(tmp_path, texts):
    drawn(tmp_path / "x.png", run(1, n=4, timesteps=[8, 8, 16, 16]), smooth=2)
    assert texts[0]["lines"]["PPO (1 run)"].tolist() == [[8, 15], [16, 35]]


def test_over_runs():
    curves = [(np.array([0.0, 4.0]), np.array([0.0, 8.0])), (np.array([2.0, 3.0]), np.array([1.0, 5.0]))]
    places, values, known = over_runs(curves)
    assert places.tolist() == [0, 2, 3, 4]
    np.testing.assert_array_equal(values, [[0, 4, 6, 8], [np.nan, 1, 5, np.nan]])
    assert known.tolist() == [1, 2, 2, 1]


def test_ends_that_are_close_are_held():
    curves = [(np.array([0.0, 96.0]), np.array([0.0, 96.0])), (np.array([3.0, 100.0]), np.array([7.0, 8.0]))]
    places, values, known = over_runs(curves)
    assert places.tolist() == [0, 3, 96, 100]
    assert values[:, [0, 3]].tolist() == [[0, 96], [7, 8]]
    assert known.tolist() == [2, 2, 2, 2]


def test_long_runs_are_thinned_from_end_to_end():
    places, values, _ = over_runs([(np.arange(1e5), np.arange(1e5))])
    assert values.shape == (1, MAX_POINTS)
    assert (places[0], places[-1]) == (0, 1e5 - 1)
    np.testing.assert_allclose(values[0], places)


def test_one_column_to_group_by():
    episodes = pd.concat([run(1), run(2)], ignore_index=True)
    labels = learning_curves(episodes, group_by="run").axes[0].get_legend_handles_labels()[1]
    assert labels == ["run 1 (1 run)", "run 2 (1 run)"]


def test_read_runs(tmp_path):
    for name, rows in (("first", "10,0,1.5,10,0.1\n20,0,2.5,10,0.2\n"), ("empty", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"algo": "ppo", "env": "CartPole-v1", "seed": 0}')
        (tmp_path / name / "episodes.csv").write_text(f"timesteps,env,return,length,seconds\n{rows}")
    for directories in (str(tmp_path / "first"), tmp_path / "first", [tmp_path / "empty", str(tmp_path / "first")]):
        runs = read_runs(directories)
        assert runs["return"].tolist() == [1.5, 2.5]
        assert (runs["return"].dtype, runs["timesteps"].dtype) == (float, int)
        learning_curves(runs)
    assert not len(read_runs(tmp_path / "empty"))
    with pytest.raises(ValueError, match="at least one run directory"):
        read_runs([])


def test_pyplot_is_left_alone(tmp_path):
    sys.modules.pop("matplotlib.pyplot", None)
    drawn(tmp_path / "x.png", run(1))
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"x": "steps"}, "x must be one of 'timesteps', 'episodes', 'seconds', got 'steps'"),
        ({"smooth": 0}, "smooth must be an integer of at least 1, got 0"),
        ({"group_by": "agent"}, "group_by must be one of 'run_id', 'algorithm', 'env', .* got 'agent'"),
    ],
)
def test_bad_arguments(settings, said):
    episodes = pd.DataFrame(columns=["run_id", "algorithm", "env", "timesteps", "return"])
    with pytest.raises(ValueError, match=said):
        learning_curves(episodes, **settings)
