"""A logger that the user set goes on in its files."""

import csv
import json
import re
import sys

import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import (
    CSVOutputFormat,
    HumanOutputFormat,
    JSONOutputFormat,
    KVWriter,
    Logger,
    configure,
)

from velora_sb3 import resume_training, save_checkpoint
from velora_sb3.checkpoints import CheckpointError
from velora_sb3.checkpoints.state.logger import restore_logger


def trained(logger, path):
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=16, batch_size=16, seed=0, device="cpu")
    model.set_logger(logger)
    save_checkpoint(model.learn(32), path / "c")
    return model


def resumed(path, callback=None, **more):
    return resume_training(path / "c", "CartPole-v1", callback, total_timesteps=64, device="cpu", **more)


def test_files_are_continued(tmp_path):
    """Each of SB3's, by another process: the logger that wrote them is gone."""
    trained(configure(str(tmp_path / "log"), ["csv", "json", "log"]), tmp_path).logger.close()
    before = {path.name: path.read_text() for path in (tmp_path / "log").iterdir()}
    model = resumed(tmp_path)
    kinds = [type(output) for output in model.logger.output_formats]
    assert kinds == [CSVOutputFormat, JSONOutputFormat, HumanOutputFormat]
    model.logger.close()
    for name in ("progress.json", "log.txt"):
        assert (tmp_path / "log" / name).read_text().startswith(before[name])
    steps = [
        json.loads(line)["time/total_timesteps"]
        for line in (tmp_path / "log" / "progress.json").read_text().splitlines()
    ]
    rows = list(csv.DictReader((tmp_path / "log" / "progress.csv").read_text().splitlines()))
    assert steps == [int(row["time/total_timesteps"]) for row in rows] == [16, 32, 48, 64]
    assert rows[0]["time/iterations"] == "1" and rows[-1]["train/loss"]


def test_a_csv_file_gets_columns_that_are_new(tmp_path):
    trained(configure(str(tmp_path / "log"), ["csv"]), tmp_path).logger.close()

    class Note(BaseCallback):
        def _on_step(self):
            self.logger.record("own/note", 7)
            return True

    resumed(tmp_path, Note()).logger.close()
    rows = list(csv.DictReader((tmp_path / "log" / "progress.csv").read_text().splitlines()))
    assert [row["own/note"] for row in rows] == ["", "", "7", "7"]


def test_a_row_that_was_cut_stays_a_row_of_its_own(tmp_path):
    trained(configure(str(tmp_path / "log"), ["json"]), tmp_path).logger.close()
    with (tmp_path / "log" / "progress.json").open("a") as file:
        file.write('{"time/tot')
    resumed(tmp_path).logger.close()
    lines = (tmp_path / "log" / "progress.json").read_text().splitlines()
    assert lines[2] == '{"time/tot' and json.loads(lines[3])["time/total_timesteps"] == 48


def test_standard_output(tmp_path, capsys):
    trained(Logger(None, [HumanOutputFormat(sys.stdout)]), tmp_path)
    capsys.readouterr()
    resumed(tmp_path)
    assert re.search(r"total_timesteps *\| 64", capsys.readouterr().out)


class Own(KVWriter):
    """A user's output."""

    def __init__(self):
        self.steps = []

    def write(self, key_values, key_excluded, step=0):
        self.steps.append(step)

    def close(self):
        pass


def test_what_cannot_be_continued_is_named(tmp_path):
    elsewhere = CSVOutputFormat(str(tmp_path / "mine.csv"))
    trained(Logger(str(tmp_path), [Own(), elsewhere]), tmp_path)
    elsewhere.close()
    before = (tmp_path / "mine.csv").read_text()
    with pytest.warns(UserWarning, match="also wrote to Own, CSVOutputFormat, which is not restored: pass logger="):
        resumed(tmp_path)
    assert (tmp_path / "mine.csv").read_text() == before


def test_files_that_are_gone_are_named_and_not_made(tmp_path):
    trained(configure(str(tmp_path / "log"), ["csv"]), tmp_path).logger.close()
    (tmp_path / "log" / "progress.csv").unlink()
    with pytest.warns(UserWarning, match="the logger's csv output in .*log is not continued: .*No such file"):
        resumed(tmp_path)
    assert list((tmp_path / "log").iterdir()) == []


def test_what_a_callback_adds_again_is_not_missing(tmp_path):
    class Adds(BaseCallback):
        def _on_training_start(self):
            self.logger.output_formats.append(Own())

        def _on_step(self):
            return True

    trained(Logger(None, [Own()]), tmp_path)
    resumed(tmp_path, Adds())


def test_another_logger_may_be_passed(tmp_path):
    trained(configure(str(tmp_path / "log"), ["csv"]), tmp_path).logger.close()
    before, own = (tmp_path / "log" / "progress.csv").read_text(), Own()
    resumed(tmp_path, logger=Logger(None, [own]))
    assert own.steps == [48, 64] and (tmp_path / "log" / "progress.csv").read_text() == before


def test_an_unknown_format_is_refused():
    with pytest.raises(CheckpointError, match="it names a log format 'exe', expected one of stdout"):
        restore_logger(None, {"folder": None, "formats": ["exe"], "others": []})
