import io
import pickle
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from velora_sb3.plotting.figures import new_figure, save_figure
from velora_sb3.plotting.performance import plot_performance

COLUMNS = ["timesteps", "return", "length", "value"]


def drawn(episodes, **settings):
    file = io.BytesIO()
    plot_performance(file, pd.DataFrame(episodes, columns=COLUMNS, dtype=float), "title", **settings)
    return np.asarray(Image.open(file).convert("RGB"))


def test_values_have_a_panel_if_there_are_any():
    without = [(10 * number, number, 10, np.nan) for number in range(1, 9)]
    with_values = [(*row[:3], 100.0) for row in without]
    assert drawn(with_values).shape[0] == drawn(without).shape[0] * 3 // 2


def test_the_window_changes_the_average_and_nothing_draws_too():
    episodes = [(10 * number, number % 5, 10, np.nan) for number in range(1, 30)]
    assert (drawn(episodes, window=2) != drawn(episodes, window=20)).any()
    assert drawn([]).shape == drawn(episodes).shape


def test_a_picture_that_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "picture.png"
    save_figure(new_figure(1, 1), path)
    before = path.read_bytes()
    broken = new_figure(1, 1)
    broken.text(0.5, 0.5, "$\\nonsense{$")
    with pytest.raises(ValueError, match="nonsense"):
        save_figure(broken, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["picture.png"]


def test_a_notebook_shows_a_figure_without_pyplot():
    sys.modules.pop("matplotlib.pyplot", None)
    figure = pickle.loads(pickle.dumps(new_figure(2, 1)))
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert "matplotlib.pyplot" not in sys.modules
