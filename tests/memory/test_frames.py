import numpy as np
import pytest
import torch
from gymnasium import spaces

from velora_sb3.memory.frames import read_frames


def box(*shape, dtype=np.float32):
    return spaces.Box(0, 255, shape, dtype=dtype)


def test_a_vector_is_one_frame():
    frames = read_frames(box(4), None, "timespans")
    assert (frames.steps, frames.timespans_key) == (None, None)
    observations = torch.randn(2, 4)
    assert frames.split(observations) == (observations, None)


def test_a_two_dimensional_box_is_a_history_time_first():
    frames = read_frames(box(5, 3), None, "timespans")
    assert frames.steps == 5
    assert frames.space.shape == (3,)
    observations = torch.randn(2, 5, 3)
    split, _ = frames.split(observations)
    torch.testing.assert_close(split.view(5, 2, 3), observations.transpose(0, 1))


def test_a_two_dimensional_box_that_is_no_history():
    for space in (box(5, 3), spaces.Dict({"table": box(5, 3)})):
        frames = read_frames(space, None, "timespans", history=False)
        assert frames.steps is None
        assert frames.space == space


def test_a_number_is_a_vector_of_one():
    frames = read_frames(box(), None, "timespans")
    assert frames.space.shape == (1,)
    assert frames.split(torch.ones(4))[0].shape == (4, 1)
    frames = read_frames(spaces.Dict({"a": box(), "b": box(2)}), None, "timespans")
    split, _ = frames.split({"a": torch.ones(4), "b": torch.ones(4, 2)})
    assert [value.shape for value in split.values()] == [(4, 1), (4, 2)]


def test_a_stacked_vector_is_a_history_oldest_first():
    frames = read_frames(box(6), 3, "timespans")
    split, _ = frames.split(torch.arange(6.0).view(1, 6))
    assert split.tolist() == [[0, 1], [2, 3], [4, 5]]


def test_stacked_images_are_cut_by_channel():
    frames = read_frames(box(6, 36, 36, dtype=np.uint8), 3, "timespans")
    assert frames.space.shape == (2, 36, 36)
    images = torch.rand(2, 6, 36, 36)
    split, _ = frames.split(images)
    torch.testing.assert_close(split[1 * 2 + 0], images[0, 2:4])  # second frame of the first environment


def test_timespans_are_taken_out_of_a_dict():
    space = spaces.Dict({"position": box(4), "timespans": box(1)})
    frames = read_frames(space, None, "timespans")
    split, timespans = frames.split({"position": torch.ones(2, 4), "timespans": torch.tensor([[0.5], [2.0]])})
    assert set(split) == {"position"}
    assert timespans.tolist() == [0.5, 2.0]


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_a_dict_of_histories_has_a_timespan_for_every_frame(shape):
    space = spaces.Dict({"position": box(3, 4), "velocity": box(3, 2), "timespans": box(*shape)})
    frames = read_frames(space, None, "timespans")
    times = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).view(2, *shape)
    split, timespans = frames.split(
        {"position": torch.ones(2, 3, 4), "velocity": torch.ones(2, 3, 2), "timespans": times}
    )
    assert frames.steps == 3
    assert split["position"].shape == (6, 4)
    assert timespans.tolist() == [[1, 4], [2, 5], [3, 6]]
    none, timespans = frames.split({name: torch.ones(0, *sub.shape) for name, sub in space.spaces.items()})
    assert (none["position"].shape, timespans.shape) == ((0, 4), (3, 0))


def test_another_key_can_hold_the_timespans():
    space = spaces.Dict({"position": box(4), "dt": box(1)})
    assert read_frames(space, None, "dt").timespans_key == "dt"
    assert read_frames(space, None, "timespans").timespans_key is None


@pytest.mark.parametrize(
    ("space", "n_stack", "message"),
    [
        (box(7), 3, "7 is not a multiple of n_stack=3; is the environment wrapped in VecFrameStack"),
        (box(6), 1, "n_stack must be an integer of at least 2, got 1"),
        (box(2, 3), 2, "n_stack=2 needs vectors or images"),
        (spaces.Discrete(4), 2, "n_stack=2 needs vectors or images"),
        (box(4, 8, 8, 3), None, "for histories of images use SB3's VecFrameStack"),
        (spaces.Dict({"timespans": box(1)}), None, "contains only 'timespans'"),
        (spaces.Dict({"a": box(4), "timespans": box(2)}), None, r"must be a Box of 1 number\(s\)"),
        (spaces.Dict({"a": box(4), "timespans": spaces.Discrete(2)}), None, r"must be a Box of 1 number\(s\)"),
        (spaces.Dict({"a": box(3, 4), "b": box(2, 4)}), None, "must have one length"),
        (
            spaces.Dict({"a": spaces.MultiDiscrete([3, 3]), "timespans": box(2, 1)}), None,
            r"observation\['a'\] is MultiDiscrete\(\[3 3\]\), not a stack of vectors: flatten it",
        ),
        (spaces.Discrete(3, start=1), None, r"from 0, but the observation is Discrete\(3, start=1\): wrap"),
        (spaces.Dict({"a": spaces.MultiDiscrete([3, 2], start=[0, 1])}), None, r"but observation\['a'\] is MultiDisc"),
    ],
)  # fmt: skip
def test_spaces_that_cannot_be_read_are_explained(space, n_stack, message):
    with pytest.raises(ValueError, match=message):
        read_frames(space, n_stack, "timespans")


@pytest.mark.parametrize("space", [box(4), spaces.Dict({"a": box(4), "dt": box(1)})])
def test_a_key_that_the_observation_lacks_is_refused(space):
    with pytest.raises(ValueError, match="timespans_key='d_t' is not in the observation, "):
        read_frames(space, None, "d_t")
    assert read_frames(space, None, "timespans").timespans_key is None
