import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from velora_sb3.cells import unroll
from velora_sb3.memory import LiquidExtractor

VECTOR = spaces.Box(-1, 1, (4,))


def test_one_observation_is_one_step_from_the_zero_state():
    extractor = LiquidExtractor(VECTOR, units=8)
    observations = torch.randn(3, 4)
    expected, _ = extractor.cell(observations, torch.zeros(3, 8))
    torch.testing.assert_close(extractor(observations), expected)
    assert extractor.features_dim == 8


def test_a_history_is_unrolled_and_its_last_output_taken():
    extractor = LiquidExtractor(spaces.Box(-1, 1, (5, 4)), units=8)
    history = torch.randn(3, 5, 4)
    expected, _ = unroll(extractor.cell, history.transpose(0, 1))
    torch.testing.assert_close(extractor(history), expected[-1])


def test_a_stacked_vector_gives_what_the_history_gives():
    torch.manual_seed(1)
    history = LiquidExtractor(spaces.Box(-1, 1, (5, 4)), units=8)
    torch.manual_seed(1)
    stacked = LiquidExtractor(spaces.Box(-1, 1, (20,)), units=8, n_stack=5)
    observations = torch.randn(3, 5, 4)
    torch.testing.assert_close(stacked(observations.flatten(1)), history(observations))


def test_the_oldest_frame_reaches_the_features():
    extractor = LiquidExtractor(spaces.Box(-1, 1, (5, 4)), units=8)
    history = torch.randn(3, 5, 4)
    changed = history.clone()
    changed[:, 0] += 1
    assert not torch.allclose(extractor(history), extractor(changed))


def test_timespans_drive_the_clock_and_are_not_an_input():
    space = spaces.Dict({"position": VECTOR, "timespans": spaces.Box(0, np.inf, (1,))})
    extractor = LiquidExtractor(space, units=8)
    assert extractor.cell.input_size == 4
    position = torch.randn(3, 4)
    soon = extractor({"position": position, "timespans": torch.full((3, 1), 0.1)})
    late = extractor({"position": position, "timespans": torch.full((3, 1), 9.0)})
    assert not torch.allclose(soon, late)
    expected, _ = extractor.cell(position, None, torch.full((3,), 9.0))
    torch.testing.assert_close(late, expected)


def test_images_pass_the_nature_cnn_first():
    extractor = LiquidExtractor(spaces.Box(0, 255, (3, 36, 36), dtype=np.uint8), units=8)
    assert extractor.cell.input_size == 512
    assert extractor(torch.rand(2, 3, 36, 36)).shape == (2, 8)


def test_a_history_of_images_is_unrolled_over_cnn_features():
    extractor = LiquidExtractor(spaces.Box(0, 255, (12, 36, 36), dtype=np.uint8), units=8, n_stack=4)
    images = torch.rand(2, 12, 36, 36)
    frames = torch.stack([extractor.encoder(images[:, 3 * t : 3 * t + 3]) for t in range(4)])
    torch.testing.assert_close(extractor(images), unroll(extractor.cell, frames)[0][-1])


def test_a_dict_passes_the_combined_extractor_first():
    space = spaces.Dict({"vector": VECTOR, "choice": spaces.Discrete(3)})
    extractor = LiquidExtractor(space, units=8)
    assert extractor.cell.input_size == 7
    assert extractor({"vector": torch.randn(2, 4), "choice": torch.eye(3)[:2]}).shape == (2, 8)


@pytest.mark.parametrize("key", ["arm.left", "type", "training", ""])
def test_keys_that_name_no_module_are_refused(key):
    space = spaces.Dict({key: VECTOR})
    with pytest.raises(ValueError, match=f"none can be called '{key}': rename"):
        LiquidExtractor(space)
    assert LiquidExtractor(space, encoder_class=Flat).cell.input_size == 4  # a user's encoder names none


class Flat(BaseFeaturesExtractor):
    def __init__(self, observation_space):
        super().__init__(observation_space, spaces.flatdim(observation_space))

    def forward(self, observations):
        return torch.cat(list(observations.values()), dim=1)


def test_encoder_and_readout_are_layers_around_the_cell():
    extractor = LiquidExtractor(VECTOR, units=8, encoder_units=6, readout_units=5)
    observations = torch.randn(3, 4)
    encoded = torch.relu(extractor.dense(observations))
    hidden, _ = extractor.cell(encoded)
    expected = torch.relu(extractor.readout(torch.cat([encoded, hidden], dim=-1)))
    torch.testing.assert_close(extractor(observations), expected)
    assert (extractor.cell.input_size, extractor.features_dim) == (6, 5)


def test_the_user_s_own_features_extractor_stands_before_the_cell():
    class Half(BaseFeaturesExtractor):
        def __init__(self, space, factor):
            super().__init__(space, features_dim=2)
            self.factor = factor

        def forward(self, observations):
            return observations[:, :2] * self.factor

    extractor = LiquidExtractor(VECTOR, units=8, encoder_class=Half, encoder_kwargs={"factor": 3})
    observations = torch.randn(3, 4)
    torch.testing.assert_close(extractor(observations), extractor.cell(3 * observations[:, :2])[0])


@pytest.mark.parametrize("name", ["encoder_units", "readout_units"])
def test_widths_must_be_positive(name):
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1, got 0"):
        LiquidExtractor(VECTOR, **{name: 0})


@pytest.mark.parametrize("side", [1, 35])
def test_an_image_too_small_for_the_cnn_is_flattened(side):
    image = spaces.Box(0, 255, (3, side, 40), dtype=np.uint8)
    assert LiquidExtractor(image, units=8).cell.input_size == 3 * side * 40
    both = spaces.Dict({"image": image, "vector": spaces.Box(-1, 1, (2,))})
    extractor = LiquidExtractor(both, units=8)
    assert extractor.cell.input_size == 3 * side * 40 + 2
    assert extractor({"image": torch.rand(4, 3, side, 40), "vector": torch.rand(4, 2)}).shape == (4, 8)


def test_a_table_that_is_no_history_is_flattened():
    extractor = LiquidExtractor(spaces.Box(-1, 1, (5, 3)), units=8, history=False)
    vector = LiquidExtractor(spaces.Box(-1, 1, (15,)), units=8)
    vector.load_state_dict(extractor.state_dict())
    table = torch.rand(4, 5, 3)
    torch.testing.assert_close(extractor(table), vector(table.flatten(1)))
    with pytest.raises(ValueError, match="history must be True or False, got 'no'"):
        LiquidExtractor(spaces.Box(-1, 1, (5, 3)), history="no")
