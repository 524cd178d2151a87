"""Plain data, and what is written as plain data, comes back as it was."""

import json
import math
import random
from collections import OrderedDict, deque
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from ncps.wirings import AutoNCP
from safetensors.numpy import load_file
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise, VectorizedActionNoise
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.utils import FloatSchedule, LinearSchedule
from stable_baselines3.her.goal_selection_strategy import GoalSelectionStrategy

from tests.checkpoints.runs import assert_equal
from velora_sb3.checkpoints.format.allow_list import AllowList
from velora_sb3.checkpoints.format.encoding import Decoder, Encoder
from velora_sb3.checkpoints.format.errors import CheckpointError, NotPlainError
from velora_sb3.checkpoints.format.spaces import restore_space_random, space_random
from velora_sb3.checkpoints.format.tensor_file import write_tensors


def there_and_back(value, tmp_path=None, trusted=()):
    encoder = Encoder()
    text = json.dumps(encoder.encode(value, "value"), allow_nan=False)
    arrays = encoder.arrays
    if tmp_path is not None:
        from safetensors import safe_open

        write_tensors(tmp_path / "arrays", arrays)
        with safe_open(tmp_path / "arrays", "pt") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return Decoder(arrays, AllowList(trusted)).decode(json.loads(text))


VALUES = {
    "nothing": None,
    "numbers": [1, -2.5, True, 2**127, -0.0, 1e-300],
    "not finite": [math.inf, -math.inf],
    "text": 'ü \n " \ud800',
    "nested": {"a": [1, {"b": (2, (3,))}], "": []},
    "looks like ours": {"$type": "class", "name": "x"},
    "keys of other kinds": {1: 2, (1, 2): "x", None: 0},
    "ordered": OrderedDict([("z", 1), ("a", 2)]),
    "deque": deque([1, {"r": 2.0}], maxlen=5),
    "long lists": [list(range(100)), [0.1] * 50, [True, False] * 30, [2**80] * 40, tuple(range(70))],
    "scalars": [np.float32(0.1), np.float64(math.pi), np.int8(-3), np.uint64(2**64 - 1), np.bool_(True), np.float16(2)],
    "text from numpy": [np.str_("ncp"), {"cell": np.random.default_rng(0).choice(["gru", "lstm"])}],
    "generator": random.Random(3).getstate(),
    "enum": GoalSelectionStrategy.FUTURE,
    "classes": [torch.nn.Tanh, torch.optim.AdamW, np.float32],
    "dtypes": [np.dtype("float32"), np.dtype(">i4"), torch.bfloat16],
    "paths": [Path("a") / "b", Path("/")],
    "dropped": torch.device("cpu"),
    "dates": [date(2024, 3, 7), datetime(2024, 3, 7, 9, 30, 0, 1), datetime(2024, 3, 7, tzinfo=ZoneInfo("Asia/Tokyo"))],
    "dates of pandas": [
        pd.Timestamp("2024-03-07 09:30:00.123456789"),
        pd.Timestamp("2024-11-03 01:30-05:00").tz_convert("America/New_York"),  # the second half past one of that night
        pd.Timestamp("1500-01-01", tz="UTC"),
    ],
    "durations": [timedelta(days=-1, microseconds=5), np.timedelta64(3, "D"), np.datetime64("2024-03-07T09:30", "ns")],
}
ARRAYS = [
    *(
        np.arange(6).reshape(2, 3).astype(kind)
        for kind in ["b", "B", "h", "H", "i", "I", "l", "L", "e", "f", "d", "?", "F"]
    ),
    np.zeros((0, 3), dtype=np.float32),
    np.array(1.5),
    np.arange(6.0).reshape(2, 3).T,
    np.arange(10)[::2],
    np.array([np.nan, np.inf, -0.0]),
]
TENSORS = [
    *(torch.arange(4).to(kind) for kind in (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.bool)),
    torch.zeros(0, 2),
    torch.tensor(3.0),
    torch.arange(6.0).view(2, 3).T,
]


@pytest.mark.parametrize("name", VALUES)
def test_values_come_back(name):
    assert_equal(there_and_back(VALUES[name]), VALUES[name])


def test_arrays_and_tensors_come_back_from_a_file(tmp_path):
    shared = torch.arange(4.0)
    together = {"arrays": ARRAYS, "tensors": TENSORS, "shared": [shared, shared, shared[1:]]}
    back = there_and_back(together, tmp_path)
    assert_equal(back["arrays"], ARRAYS)
    for one, other in zip(back["tensors"] + back["shared"], TENSORS + together["shared"], strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other)


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 3, 1, 2), (1, 0, 3, 2)])
@pytest.mark.parametrize("channels", [1, 3])
def test_arrays_keep_their_order_in_memory(axes, channels, tmp_path):
    """VecTransposeImage's images are views, and the last bits of a convolution depend on the order."""
    array = np.arange(40.0 * channels).reshape(2, 5, 4, channels).transpose(axes)
    back = there_and_back(array, tmp_path)
    np.testing.assert_array_equal(back, array)
    assert back.strides == array.strides


def test_an_impossible_order_in_memory_is_refused():
    with pytest.raises(CheckpointError, match="orders the axes of an array of shape"):
        Decoder({"x": np.zeros((2, 3))}).decode({"$type": "array", "array": "x", "axes": [0, 0]})


def test_big_endian_numbers_keep_their_values(tmp_path):
    back = there_and_back(np.array([1, 2, 3], dtype=">f8"), tmp_path)
    np.testing.assert_array_equal(back, [1, 2, 3])


SPACES = [
    spaces.Box(-np.inf, np.array([1, 2], dtype=np.float32)),
    spaces.Box(0, 255, (3, 4, 1), dtype=np.uint8),
    spaces.Discrete(4, start=-2),
    spaces.MultiDiscrete([[2, 3], [4, 5]]),
    spaces.MultiBinary(3),
    spaces.MultiBinary([2, 2]),
    spaces.Dict(OrderedDict([("z", spaces.Discrete(2)), ("a", spaces.Box(0, 1, ()))])),
    spaces.Tuple([spaces.Discrete(2), spaces.Box(0, 1, (2,))]),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_spaces_come_back(space):
    back = there_and_back(space)
    assert back == space and str(back) == str(space) and back.dtype == space.dtype


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_spaces_go_on_drawing(space):
    space.seed(4)
    space.sample()
    other = there_and_back(space)
    restore_space_random(other, there_and_back(space_random(space)))
    for _ in range(3):
        assert str(other.sample()) == str(space.sample())


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_generators_go_on_drawing(kind):
    generator = np.random.Generator(getattr(np.random, kind)(5))
    generator.random(3)
    back = there_and_back(generator)
    np.testing.assert_array_equal(back.random(9), generator.random(9))


def test_the_legacy_generator_goes_on_drawing():
    generator = np.random.RandomState(5)
    generator.normal(size=3)
    back = there_and_back(generator)
    np.testing.assert_array_equal(back.normal(size=9), generator.normal(size=9))


def test_objects_that_are_their_attributes_come_back():
    noise = VectorizedActionNoise(OrnsteinUhlenbeckActionNoise(np.zeros(2), np.ones(2)), 2)
    noise()
    objects = [
        FloatSchedule(LinearSchedule(1.0, 0.1, 0.5)), NormalActionNoise(np.zeros(2), np.ones(2), np.float64), noise,
        RunningMeanStd(shape=(2,)), RNNStates((torch.ones(2),), (torch.zeros(1),)), AutoNCP(12, 3, seed=5),
    ]  # fmt: skip
    schedule, normal, correlated, statistics, states, wiring = there_and_back(objects)
    assert schedule(0.75) == objects[0](0.75)
    assert normal._dtype is np.float64
    np.testing.assert_array_equal(correlated.noises[1].noise_prev, noise.noises[1].noise_prev)
    np.testing.assert_array_equal(statistics.mean, objects[3].mean)
    assert_equal(states, objects[4])
    np.testing.assert_array_equal(wiring.adjacency_matrix, objects[5].adjacency_matrix)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(plain)
def test_any_plain_data_comes_back(value):
    assert_equal(there_and_back(value), value)


class Settings:
    """Somebody's own."""


@pytest.mark.parametrize(
    "value",
    [
        lambda: 0,
        Settings(),
        {1, 2},
        object(),
        np.array(["x"]),
        np.array([Settings()]),
        np.zeros(1, np.longdouble),
        print,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_plain_is_refused_with_its_place(value):
    with pytest.raises(NotPlainError, match=r"^arguments\['deep'\]\[1\] \(.*\) is not plain data$"):
        Encoder().encode({"deep": [0, value]}, "arguments")


def test_a_class_of_somebody_is_named_but_not_made_unless_trusted():
    with pytest.raises(CheckpointError, match=r"trusted=\[Settings\]"):
        there_and_back(Settings)
    assert there_and_back(Settings, trusted=[Settings]) is Settings
    assert there_and_back(Settings, trusted=[f"{__name__}.Settings"]) is Settings


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "subprocess.Popen", "torch.load", "torch.nn.Linear", 3])
def test_names_outside_the_list_are_refused(name):
    with pytest.raises(CheckpointError, match="not on the list"):
        Decoder({}).decode({"$type": "class", "name": name})


def test_an_object_must_be_one_that_is_its_attributes():
    name = "torch.nn.modules.activation.ReLU"
    with pytest.raises(CheckpointError, match="must be constructed"):
        Decoder({}).decode({"$type": "object", "class": {"$type": "class", "name": name}, "attributes": {}})


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"$type": "from the future"}, "newer version"),
        ({"$type": "array", "array": "x"}, "array 'x'"),
        ({"$type": "tensor", "array": "x"}, "array 'x'"),
        ({"$type": "dtype", "library": "torch", "name": "load"}, "number type"),
        ({"$type": "space", "kind": "Text"}, "unknown kind"),
    ],
)
def test_what_was_never_written_is_refused(data, told):
    with pytest.raises(CheckpointError, match=told):
        Decoder({}).decode(data)


def test_numbers_that_the_format_does_not_know_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="numbers of type complex128 cannot be stored"):
        write_tensors(tmp_path / "x", {"x": torch.zeros(2, dtype=torch.complex128)})


def test_a_file_s_bytes_are_the_library_s_own(tmp_path):
    arrays = {"b": np.arange(3.0), "c": np.array(2, dtype=np.int64), "a": np.zeros((0, 2), dtype=np.float32)}
    write_tensors(tmp_path / "ours", arrays)
    loaded = load_file(tmp_path / "ours")
    for name, array in arrays.items():
        assert_equal(loaded[name], array)
    header = (tmp_path / "ours").read_bytes()
    assert int.from_bytes(header[:8], "little") % 8 == 0  # aligned, for readers that map the file
