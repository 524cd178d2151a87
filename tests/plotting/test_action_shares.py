import numpy as np
from PIL import Image

from velora_sb3.plotting.action_shares import plot_action_shares


def drawn(tmp_path, n_dimensions, shares=(0.25, 0.75), **settings):
    histograms = [(f"a{number}", np.linspace(-1, 1, 3), np.array(shares)) for number in range(n_dimensions)]
    plot_action_shares(tmp_path / "actions.png", histograms, "title", **settings)
    with Image.open(tmp_path / "actions.png") as picture:
        return np.asarray(picture.convert("RGB"))


def test_each_dimension_has_a_panel_up_to_twelve(tmp_path):
    heights = {number: drawn(tmp_path, number).shape[0] for number in (4, 5, 12, 13)}
    assert heights[5] > heights[4]
    assert heights[13] == heights[12] > heights[5]


def test_shares_and_choices_show(tmp_path):
    plain = drawn(tmp_path, 1)
    assert (drawn(tmp_path, 1, shares=(0.75, 0.25)) != plain).any()
    assert (drawn(tmp_path, 1, choices=["left", "right"]) != plain).any()
