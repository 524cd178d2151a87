"""Seeds of a trial take turns, and each trains as it would alone."""

import random
import threading

import numpy as np
import pytest
import torch

pytest.importorskip("ray")
from velora_sb3.tune.seeds import train_seeds


def drawing(seed, turns, drawn):
    def train(report):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        for _ in range(turns):
            drawn.append((random.random(), np.random.random(), torch.rand(1).item()))
            report._send({"seed": seed}, None)
        return seed

    return train


def test_each_has_its_own_random_generators():
    alone, together = {}, {0: [], 1: []}
    for seed in (0, 1):
        train_seeds([drawing(seed, 3, alone.setdefault(seed, []))], ["one"], lambda metrics, directory: None)
    reports = []
    results = train_seeds(
        [drawing(seed, 3, together[seed]) for seed in (0, 1)], ["0", "1"], lambda metrics, _: reports.append(metrics)
    )
    assert together == alone
    assert results == [0, 1]
    assert reports == [[{"seed": 0}, {"seed": 1}]] * 3


@pytest.mark.parametrize("error", [RuntimeError("stop"), SystemExit(0)])
def test_the_report_may_end_them(error):
    ended = []

    def train(report):
        try:
            while True:
                report._send({}, None)
        finally:
            ended.append(True)

    def stop(metrics, directory):
        raise error

    before = threading.active_count()
    with pytest.raises(type(error)):
        train_seeds([train, train], ["0", "1"], stop)
    assert ended == [True, True]
    assert threading.active_count() == before


def test_an_error_of_one_ends_all():
    def fail(report):
        raise ValueError("diverged")

    def endless(report):
        while True:
            report._send({}, None)

    before = threading.active_count()
    with pytest.raises(ValueError, match="diverged"):
        train_seeds([endless, fail], ["0", "1"], lambda metrics, directory: None)
    assert threading.active_count() == before


def test_seeds_that_evaluate_unequally_often_are_an_error():
    with pytest.raises(RuntimeError, match="some seeds"):
        train_seeds([drawing(0, 1, []), drawing(1, 2, [])], ["0", "1"], lambda metrics, directory: None)
