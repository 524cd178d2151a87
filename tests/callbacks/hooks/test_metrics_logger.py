import json
import time

import numpy as np
import pytest
from stable_baselines3.common.logger import (
    CSVOutputFormat,
    HumanOutputFormat,
    Image,
    JSONOutputFormat,
    KVWriter,
    Logger,
)

from velora_sb3.callbacks import MetricsLogger
from velora_sb3.callbacks.hooks.metrics_logger import MetricsWriter


class Rows(KVWriter):
    def __init__(self):
        self.rows = []

    def write(self, key_values, key_excluded, step=0):
        assert key_values.keys() == key_excluded.keys()
        self.rows.append(dict(key_values))

    def close(self):
        pass


def test_nested_names():
    metrics = MetricsLogger()
    metrics.log_value(("a", "b", "c"), 1.0)
    metrics.log_value("a/b/d", 2.0)
    assert metrics.peek("a/b/c") == metrics.peek(("a", "b", "c")) == 1.0
    assert metrics.peek("a") == {"b": {"c": 1.0, "d": 2.0}}
    assert metrics.peek() == {"a": {"b": {"c": 1.0, "d": 2.0}}}
    assert metrics.reduce() == {"a/b/c": 1.0, "a/b/d": 2.0}


@pytest.mark.parametrize("names", [["a", "a/b"], ["a/b", "a"]])
def test_a_name_may_be_a_part_of_another(names):
    metrics = MetricsLogger()
    for name in names:
        metrics.log_value(name, float(len(name)))
    assert metrics.peek() == {"a": {"": 1.0, "b": 3.0}}


def test_peek_of_nothing():
    metrics = MetricsLogger()
    metrics.log_value("there", 1.0)
    assert metrics.peek("not", default=7) == 7
    with pytest.raises(KeyError, match="unknown metric 'not': logged so far are there"):
        metrics.peek("not")


def test_a_dict_at_once():
    metrics = MetricsLogger()
    for number in (1.0, 3.0):
        metrics.log_dict({"x": number, "deep": {"y": 2 * number}}, key="k", reduce="max")
    assert metrics.reduce() == {"k/x": 3.0, "k/deep/y": 6.0}


def test_time_of_a_block_also_if_it_raises():
    metrics = MetricsLogger()
    with metrics.log_time("first", reduce="sum"):
        time.sleep(0.02)
    with pytest.raises(ZeroDivisionError), metrics.log_time("second"):
        1 / 0  # noqa: B018
    assert metrics.peek("first") >= 0.02
    assert 0 < metrics.peek("second") < metrics.peek("first")


def test_settings_need_not_be_repeated_and_must_not_change():
    metrics = MetricsLogger()
    metrics.log_value("x", 1.0, reduce="max", window=2)
    metrics.log_value("x", 5.0)
    metrics.log_value("x", 2.0, reduce="max")
    assert metrics.peek("x") == 5.0
    with pytest.raises(ValueError, match="x was first logged with window=2, now with 3"):
        metrics.log_value("x", 1.0, window=3)
    metrics.log_value("y", 1.0, reduce="mean", ema_coeff=0.5)
    metrics.log_value("y", 3.0, reduce="mean", ema_coeff=0.5)
    assert metrics.peek("y") == 2.0


def test_a_refused_value_leaves_no_trace():
    metrics = MetricsLogger()
    with pytest.raises(TypeError):
        metrics.log_value("x", "text", reduce="mean")
    metrics.log_value("x", 1.0, reduce="min")
    assert metrics.reduce() == {"x": 1.0}


def test_it_is_in_every_output_of_sb3_and_only_once(tmp_path):
    metrics, rows = MetricsLogger("p/"), Rows()
    log = Logger(None, [MetricsWriter([metrics]), rows])
    log.record("own", 1)
    metrics.log_value("x", 2.0)
    log.dump(1)
    log.record("own", 2)
    log.dump(2)
    assert rows.rows == [{"own": 1, "p/x": 2.0}, {"own": 2}]


def test_pictures_and_lists_do_not_reach_outputs_of_text(tmp_path):
    metrics, rows = MetricsLogger(), Rows()
    texts = [HumanOutputFormat(str(tmp_path / "log.txt")), CSVOutputFormat(str(tmp_path / "log.csv"))]
    texts.append(JSONOutputFormat(str(tmp_path / "log.json")))
    log = Logger(None, [MetricsWriter([metrics]), *texts, rows])
    picture = Image(np.zeros((2, 2), np.uint8), "HW")
    metrics.log_value("picture", picture)
    for number in (1.0, 2.0):
        metrics.log_value("list", number, reduce="item_series")
    metrics.log_value("number", np.float32(3))
    log.dump(1)
    log.close()
    assert json.loads((tmp_path / "log.json").read_text()) == {"number": 3.0}
    assert (tmp_path / "log.csv").read_text() == "number\n3.0\n"
    assert rows.rows[0]["picture"] is picture
    assert rows.rows[0]["list"].tolist() == [1.0, 2.0]


def test_it_goes_on_from_a_state():
    def first(metrics):
        metrics.log_value("mean", 1.0)
        metrics.log_value("window", 1.0, window=3)
        metrics.log_value("ema", 1.0, ema_coeff=0.5)
        metrics.log_value("sum", 1.0, reduce="lifetime_sum")
        metrics.log_value("item", object())

    def second(metrics):
        for name in ("mean", "window", "ema", "sum"):
            metrics.log_value(name, 3.0)

    whole, cut, resumed = MetricsLogger(), MetricsLogger(), MetricsLogger()
    first(whole), first(cut)
    resumed.load_state_dict(json.loads(json.dumps(cut.state_dict())))
    assert resumed.is_fresh
    second(whole), second(resumed)
    row = whole.reduce()
    del row["item"]
    assert resumed.reduce() == row == {"mean": 2.0, "window": 2.0, "ema": 2.0, "sum": 4.0}
