"""The filled part of a replay buffer, without saying anything twice."""

from collections import deque

import numpy as np
import pytest
import torch
from stable_baselines3.common.buffers import ReplayBuffer

from tests.checkpoints.conftest import small_model
from tests.checkpoints.runs import assert_equal
from velora_sb3 import load_checkpoint, save_checkpoint
from velora_sb3.checkpoints import load_replay_buffer, save_replay_buffer
from velora_sb3.checkpoints.format.encoding import Decoder, Encoder
from velora_sb3.checkpoints.format.errors import CheckpointError
from velora_sb3.checkpoints.state.replay_buffer import capture_buffer, restore_buffer, without_duplicates

SMALL_MEMORY = {"optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False}}


def trajectory(steps, kind=np.float32, n_envs=2):
    """Observations whose next ones are those of the next step, but at the ends of episodes."""
    draw = np.random.default_rng(0)
    observations = draw.integers(20, 100, (steps, n_envs, 3)).astype(kind)
    following = np.concatenate([observations[1:], observations[:1]])
    following[4::5, 0] = 7
    return {"observations": observations, "next_observations": following, "rewards": np.zeros((steps, n_envs))}


def with_repetitions(arrays):
    """What was left out, put back."""
    whole = {name: array for name, array in arrays.items() if not name.endswith((" only", " rows"))}
    for name in {name.rpartition(" ")[0] for name in arrays} - {""}:
        whole[name] = np.roll(whole[name.removeprefix("next_")], -1, axis=0)
        whole[name][arrays[f"{name} rows"]] = arrays[f"{name} only"]
    return dict(sorted(whole.items()))


@pytest.mark.parametrize("kind", [np.uint8, np.float16, np.float32, np.float64, np.int64])
@pytest.mark.parametrize("steps", [2, 3, 40])
def test_next_observations_are_stored_where_they_differ(kind, steps):
    arrays = trajectory(steps, kind)
    shorter = without_duplicates(arrays)
    assert_equal(with_repetitions(shorter), dict(sorted(arrays.items())))
    if steps == 40:
        assert len(shorter["next_observations only"]) == 8
    if steps == 40 and np.dtype(kind).itemsize >= 4:
        assert sum(array.nbytes for array in shorter.values()) < 0.75 * sum(array.nbytes for array in arrays.values())


def test_zeros_of_both_signs_and_nans_are_kept():
    arrays = trajectory(20)
    arrays["observations"][3:9] = np.array([0.0, -0.0, np.nan], dtype=np.float32)
    arrays["next_observations"][2:8] = np.array([-0.0, 0.0, np.nan], dtype=np.float32)
    assert_equal(with_repetitions(without_duplicates(arrays)), dict(sorted(arrays.items())))


def test_what_has_no_repetitions_is_stored_as_it_is():
    arrays = trajectory(20)
    arrays["next_observations"] = arrays["next_observations"] + 1
    assert without_duplicates(arrays) == arrays


def test_each_entry_of_a_dict_is_looked_at():
    flat = trajectory(20)
    arrays = {f"{name}/{key}": flat[name] for name in ("observations", "next_observations") for key in "ab"}
    shorter = without_duplicates(arrays)
    assert {"next_observations/a only", "next_observations/b rows"} <= set(shorter)
    assert_equal(with_repetitions(shorter), dict(sorted(arrays.items())))


@pytest.mark.parametrize("steps", [3, 59, 60, 61, 95])
@pytest.mark.parametrize("settings", [{}, SMALL_MEMORY], ids=["SB3's default", "small memory"])
def test_filling_full_and_wrapped_around(steps, settings):
    buffer = small_model(train_freq=1, **settings).learn(steps).replay_buffer
    encoder = Encoder()
    described, arrays = capture_buffer(buffer, encoder)
    other = small_model(**settings).replay_buffer
    restore_buffer(other, described, {n: torch.as_tensor(a) for n, a in arrays.items()}, Decoder(encoder.arrays))
    stored = [name for name in vars(buffer) if not name.endswith("_space") and name != "device"]
    assert {"observations", "actions", "pos", "full"} < set(stored)
    for name in stored:
        assert_equal(getattr(other, name), getattr(buffer, name))


class Prioritized(ReplayBuffer):
    """A user's: priorities in a tree, a view of its leaves, a count, and what is no plain data."""

    def __init__(self, *args, thing=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.tree, self.highest, self.thing = np.zeros(2 * self.buffer_size - 1), 1.0, thing
        self.leaves, self.heap = self.tree[self.buffer_size - 1 :], np.arange(float(self.buffer_size))
        self.recent, self.random = deque(maxlen=3), np.random.default_rng(0)

    def add(self, *args, **kwargs):
        self.highest += self.random.random()
        self.leaves[self.pos] = self.heap[-self.pos] = self.highest
        self.recent.append(self.pos)
        super().add(*args, **kwargs)


def own_state(buffer):
    return {name: getattr(buffer, name) for name in ("tree", "leaves", "heap", "highest", "recent")}


@pytest.mark.parametrize("way", ["checkpoint", "file"])
def test_what_a_user_s_buffer_keeps_beside_the_steps_is_stored(way, tmp_path):
    def make():
        return small_model(train_freq=1, replay_buffer_class=Prioritized)

    model = make().learn(30)
    if way == "checkpoint":
        path = save_checkpoint(model, tmp_path / "c")
        other = load_checkpoint(path, "CartPole-v1", trusted=[Prioritized], device="cpu")
    else:
        load_replay_buffer(other := make(), save_replay_buffer(model, tmp_path / "buffer"))
    assert_equal(own_state(other.replay_buffer), own_state(model.replay_buffer))
    assert other.replay_buffer.random.random() == model.replay_buffer.random.random()
    other.replay_buffer.leaves[0] = 7  # still a view of the tree
    assert 7 in other.replay_buffer.tree


def test_what_is_no_plain_data_is_left_out_with_a_warning_that_names_it(tmp_path):
    model = small_model(replay_buffer_class=Prioritized).learn(20)
    model.replay_buffer.thing = object()
    with pytest.warns(UserWarning, match="Prioritized.thing is not in the checkpoint .* is not plain data"):
        path = save_checkpoint(model, tmp_path / "c")
    other = load_checkpoint(path, "CartPole-v1", trusted=[Prioritized], device="cpu")
    assert_equal(own_state(other.replay_buffer), own_state(model.replay_buffer))
    assert other.replay_buffer.thing is None


@pytest.mark.parametrize("buffer", [{}, SMALL_MEMORY, {"n_steps": 3}])
def test_sb3_s_buffers_have_nothing_else(buffer):
    described, _ = capture_buffer(small_model(**buffer).learn(20).replay_buffer, Encoder())
    assert described["own"] == {}


@pytest.mark.parametrize("name", ["sample", "pos", "__class__"])
def test_names_that_are_no_state_are_refused(name):
    encoder = Encoder()
    described, arrays = capture_buffer(small_model().learn(20).replay_buffer, encoder)
    arrays = {key: torch.as_tensor(array) for key, array in arrays.items()}
    with pytest.raises(CheckpointError, match=f"'{name}', which is not part of the state of a ReplayBuffer"):
        restore_buffer(small_model().replay_buffer, {**described, "own": {name: 3}}, arrays, Decoder({}))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"pos": 61}, "position 61, which"),
        ({"pos": 3}, "31 rows and position 3,"),
        ({"full": True}, "31 rows"),
        ({"class": "Other"}, "of a Other"),
        ({"rows": 30, "pos": 29}, r"of shape \(31, 1, 4\)"),
        ({"arrays": {"next_observations rows": torch.zeros(2)}}, "next_observations of shape"),
        ({"arrays": {"next_observations only": torch.zeros(1, 1, 4)}}, "next_observations of shape"),
        ({"arrays": {"other": torch.zeros(1)}}, "do not fit this model's ReplayBuffer"),
    ],
)
def test_what_does_not_fit_is_refused(change, told):
    encoder = Encoder()
    described, arrays = capture_buffer(small_model(train_freq=1).learn(30).replay_buffer, encoder)
    arrays = {name: torch.as_tensor(array) for name, array in arrays.items()}
    arrays |= change.pop("arrays", {})
    with pytest.raises(CheckpointError, match=told):
        restore_buffer(small_model().replay_buffer, {**described, **change}, arrays, Decoder({}))


def test_another_size_is_refused():
    described, arrays = capture_buffer(small_model().learn(30).replay_buffer, Encoder())
    arrays = {name: torch.as_tensor(array) for name, array in arrays.items()}
    with pytest.raises(CheckpointError, match="rows"):
        restore_buffer(small_model(buffer_size=20).replay_buffer, described, arrays, Decoder({}))
