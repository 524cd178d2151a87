import sys

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from velora_sb3.plotting.learning_curve import curves_unavailable_reason, learning_curve, moving_average_window


def episodes(n):
    return pd.DataFrame({"timesteps": 200 * np.arange(1, n + 1), "return": -1000.0 + 10 * np.arange(n)})


def evaluations():
    return pd.DataFrame({"timesteps": [200, 2000], "mean_return": [-900.0, -300.0], "std_return": [50.0, 20.0]})


def colours(path):
    pixels = matplotlib.image.imread(path)[..., :3]
    return pixels.shape[:2], {tuple(colour) for colour in np.rint(255 * pixels.reshape(-1, 3)).astype(int).tolist()}


def test_training_and_evaluations_are_drawn(tmp_path):
    learning_curve(episodes(40), evaluations(), "a run").savefig(tmp_path / "both.png")
    learning_curve(episodes(40), None, "a run").savefig(tmp_path / "training.png")
    size, both = colours(tmp_path / "both.png")
    _, training = colours(tmp_path / "training.png")
    blue, orange = (0, 114, 178), (213, 94, 0)
    assert size == (540, 960)
    assert {blue, orange} <= both
    assert blue in training
    assert orange not in training


@pytest.mark.parametrize("n", [0, 1, 5])
def test_few_episodes(n, tmp_path):
    learning_curve(episodes(n), evaluations().head(0)).savefig(tmp_path / "few.png")
    assert (tmp_path / "few.png").stat().st_size > 1000


def test_the_window_is_a_tenth():
    assert [moving_average_window(n) for n in (0, 5, 100, 5000)] == [1, 1, 10, 100]


def test_pyplot_is_left_alone(tmp_path):
    sys.modules.pop("matplotlib.pyplot", None)
    learning_curve(episodes(3)).savefig(tmp_path / "x.png")
    assert "matplotlib.pyplot" not in sys.modules


def test_a_missing_matplotlib_is_told(monkeypatch):
    assert curves_unavailable_reason() is None
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert curves_unavailable_reason() == 'no learning curve: pip install "velora-sb3[plot]"'
