import io

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import Figure, HParam, Image, Logger, Video

from velora_sb3.tracking.writer import TrackingWriter, sendable


@pytest.fixture
def written():
    return []


@pytest.fixture
def logger(written):
    return Logger(None, [TrackingWriter("comet", lambda row, step: written.append((step, row)))])


def test_a_row_of_the_logger_with_its_step(logger, written):
    logger.record("train/loss", 0.5)
    logger.record("time/iterations", 3)
    logger.record("note", "warm-up over")
    logger.dump(128)
    assert written == [(128, {"train/loss": 0.5, "time/iterations": 3, "note": "warm-up over"})]


def test_none_is_left_out(logger, written):
    logger.record("a", None)
    logger.record("b", 1.0)
    logger.dump(1)
    assert written == [(1, {"b": 1.0})]


def test_a_row_with_nothing_in_it_is_none(logger, written):
    logger.record("a", None)
    logger.dump(1)
    logger.dump(2)
    assert written == []


def test_values_excluded_for_it_are_left_out_and_no_others(logger, written):
    logger.record("a", 1.0, exclude="comet")
    logger.record("b", 2.0, exclude=("stdout", "tensorboard"))
    logger.record("c", 3.0)
    logger.dump(1)
    assert written == [(1, {"b": 2.0, "c": 3.0})]


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.array([2.5]), 2.5),
        (np.bool_(True), True),
        (torch.tensor(1.5, requires_grad=True), 1.5),
        (torch.tensor([7]), 7),
        (torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
        (np.str_("text"), "text"),
    ],
)
def test_numpys_and_torchs_numbers_are_plain_ones(value, sent):
    assert sendable(value) == sent
    assert type(sendable(value)) is type(sent)


@pytest.mark.parametrize("value", [np.arange(6.0).reshape(2, 3), torch.arange(6.0).reshape(2, 3)])
def test_arrays_stay_for_histograms(value):
    sent = sendable(value)
    assert isinstance(sent, np.ndarray)
    np.testing.assert_array_equal(sent, np.arange(6.0).reshape(2, 3))


def test_what_cannot_be_sent_is_nothing():
    pyplot = pytest.importorskip("matplotlib.figure")
    unsendable = [
        Figure(pyplot.Figure(), close=True),
        Video(torch.zeros(1, 2, 3, 4, 4), fps=4),
        HParam({"a": 1}, {"b": 2.0}),
        Image("a/file.png", "HWC"),
        Image(np.zeros((2, 3, 4, 4)), "NCHW"),
        np.array([object()]),
        np.array([]),
        object(),
        io.StringIO(),
    ]
    assert [sendable(value) for value in unsendable] == [None] * len(unsendable)


def test_images_are_rows_columns_channels():
    pixels = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    for order, axes in (("CHW", (1, 2, 0)), ("HWC", (0, 1, 2)), ("WHC", (1, 0, 2))):
        np.testing.assert_array_equal(sendable(Image(pixels, order))["image"], pixels.transpose(axes))
    np.testing.assert_array_equal(sendable(Image(pixels[0], "HW"))["image"], pixels[0])


def test_images_of_floats_are_bytes():
    sent = sendable(Image(torch.tensor([[0.0, 0.5], [1.0, 2.0]]), "HW"))["image"]
    assert sent.dtype == np.uint8
    assert sent.tolist() == [[0, 127], [255, 255]]
