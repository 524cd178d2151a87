import errno
import os
from pathlib import Path

import pytest
from stable_baselines3 import A2C
from stable_baselines3.common.logger import CSVOutputFormat, Logger

from velora_sb3.cli.experiment.run_files import CsvFile, TolerateLogErrors, WholeFile

COLUMNS = ("timesteps", "return")
FULL = Path("/dev/full")


def lines(path):
    return path.read_text().splitlines()


def started(path, timestep=0):
    file = CsvFile(path, COLUMNS)
    file.start(timestep)
    return file


def test_a_new_run_starts_a_new_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old\n")
    file = started(path)
    file.append((3, 1.5))
    file.append((7, 2.5))
    assert lines(path) == ["timesteps,return", "3,1.5", "7,2.5"]


def test_a_resumed_run_keeps_the_rows_before_its_checkpoint(tmp_path):
    path = tmp_path / "a.csv"
    file = started(path)
    for row in [(3, 1.5), (5, 2.0), (7, 2.5)]:
        file.append(row)
    started(path, 5).append((7, 2.5))
    assert lines(path) == ["timesteps,return", "3,1.5", "5,2.0", "7,2.5"]
    assert [found.name for found in tmp_path.iterdir()] == ["a.csv"]


def test_an_incomplete_line_is_dropped(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("timesteps,return\n3,1.5\n4")
    started(path, 9)
    assert lines(path) == ["timesteps,return", "3,1.5"]


def test_a_missing_file_is_created(tmp_path):
    started(tmp_path / "a.csv", 9)
    assert lines(tmp_path / "a.csv") == ["timesteps,return"]


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
def test_rows_that_a_full_disk_refuses_are_written_later(tmp_path):
    path = tmp_path / "a.csv"
    file = started(path)
    file.append((1, 0.5))
    path.rename(tmp_path / "kept")
    path.symlink_to(FULL)
    with pytest.warns(RuntimeWarning, match=r"a.csv cannot be written \(No space left on device\); training continues"):
        file.append((3, 1.5))
    file.append((5, 2.0))  # warns once
    assert file.problem == "No space left on device"
    path.unlink()
    (tmp_path / "kept").rename(path)
    file.append((7, 2.5))
    assert file.problem is None
    assert lines(path) == ["timesteps,return", "1,0.5", "3,1.5", "5,2.0", "7,2.5"]


def test_half_a_row_is_taken_back(tmp_path, monkeypatch):
    file = started(tmp_path / "a.csv")
    real = Path.open

    def nearly_full(self, mode="r", *args, **kwargs):
        opened = real(self, mode, *args, **kwargs)
        return HalfWriting(opened) if mode == "ab" else opened

    monkeypatch.setattr(Path, "open", nearly_full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        file.append((3, 1.5))
    monkeypatch.undo()
    assert lines(tmp_path / "a.csv") == ["timesteps,return"]
    file.retry()
    assert lines(tmp_path / "a.csv") == ["timesteps,return", "3,1.5"]


class HalfWriting:
    """An unbuffered file on a disk with room for half of what is written."""

    def __init__(self, file):
        self.file = file

    def write(self, content):
        return self.file.write(content[: len(content) // 2])

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()


def test_a_whole_file_stays_as_it_is_until_the_next_one_fits(tmp_path, monkeypatch):
    file = WholeFile(tmp_path / "model.zip")
    file.write(b"first")

    def full(self, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.warns(RuntimeWarning, match="model.zip cannot be written"):
        file.write(b"second")
    assert (tmp_path / "model.zip").read_bytes() == b"first"
    monkeypatch.undo()
    file.retry()
    assert file.problem is None
    assert (tmp_path / "model.zip").read_bytes() == b"second"
    assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]


def test_a_failing_output_of_sb3_s_logger_ends_neither_training_nor_the_others(tmp_path):
    class Full(CSVOutputFormat):
        def write(self, *row):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    model = A2C("MlpPolicy", "CartPole-v1", n_steps=4, device="cpu")
    full, other = Full(str(tmp_path / "full.csv")), CSVOutputFormat(str(tmp_path / "progress.csv"))
    model.set_logger(Logger(str(tmp_path), [full, other]))
    with pytest.warns(RuntimeWarning, match=r"SB3's Full cannot write \(No space left on device\)") as told:
        model.learn(12, log_interval=1, callback=TolerateLogErrors())
    full.close(), other.close()
    assert len(told) == 1
    assert len((tmp_path / "progress.csv").read_text().splitlines()) == 4  # a header, and three iterations
