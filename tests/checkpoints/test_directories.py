"""A checkpoint appears whole or not at all; what cannot be written leaves the old one as it was."""

import os
import resource
import subprocess
import sys
import warnings

import pytest

from velora_sb3 import load_checkpoint, save_checkpoint
from velora_sb3.checkpoints import (
    CheckpointError,
    atomic_directory,
    directories,
    finish_saving,
    list_checkpoints,
    newest_checkpoint,
)
from velora_sb3.checkpoints.directories import clear_leftovers, recover, remove_directory


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def always(_):
    return True


def test_nothing_is_there_before_all_is(tmp_path):
    with atomic_directory(tmp_path / "a" / "b", always) as place:
        (place / "file").write_text("x")
        assert not (tmp_path / "a" / "b").exists()
        assert place.parent == tmp_path / "a"
    assert names(tmp_path / "a") == ["b"]
    assert (tmp_path / "a" / "b" / "file").read_text() == "x"


def test_an_old_one_stands_until_then_and_gives_way(tmp_path):
    for text in ("old", "new"):
        with atomic_directory(tmp_path / "it", always) as place:
            (place / f"{text} file").write_text(text)
            assert text == "old" or names(tmp_path / "it") == ["old file"]
    assert names(tmp_path) == ["it"]
    assert names(tmp_path / "it") == ["new file"]


def test_an_error_leaves_everything_as_it_was(tmp_path):
    with atomic_directory(tmp_path / "it", always) as place:
        (place / "file").write_text("old")

    def interrupted():
        with atomic_directory(tmp_path / "it", always) as place:
            (place / "file").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == ["it"]
    assert (tmp_path / "it" / "file").read_text() == "old"


@pytest.mark.parametrize("there", ["file", "directory", "link", "another manifest"])
def test_what_is_no_checkpoint_is_never_replaced(there, model, tmp_path):
    path = tmp_path / "mine"
    if there == "file":
        path.write_text("x")
    elif there == "link":
        (tmp_path / "target").mkdir()
        path.symlink_to(tmp_path / "target")
    else:
        path.mkdir()
        (path / ("manifest.json" if there == "another manifest" else "thesis.tex")).write_text("{}")
    with pytest.raises(CheckpointError, match="exists and is not a checkpoint"):
        save_checkpoint(model, path)
    assert path.exists() and not any(name.startswith(".") for name in names(tmp_path))


def test_an_empty_directory_and_a_checkpoint_are_replaced(model, tmp_path):
    (tmp_path / "it").mkdir()
    for _ in range(2):
        save_checkpoint(model, tmp_path / "it")
    assert newest_checkpoint(tmp_path) == tmp_path / "it"
    assert names(tmp_path) == ["it"]


def leave_behind(directory, name, state, process):
    """What a process that was killed in the middle has left."""
    left = directory / f".{name}.{state}-{directories._HOST}-{process}-12345678"
    left.mkdir()
    (left / "file").write_text(state)
    return left


def dead_process():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def test_what_killed_processes_left_is_cleared_and_what_living_ones_write_is_not(tmp_path):
    for state in ("partial", "removed"):
        leave_behind(tmp_path, "a.b", state, dead_process())
    living = leave_behind(tmp_path, "a", "partial", os.getppid())
    somebody_elses = tmp_path / ".git.partial-x"
    somebody_elses.mkdir()
    clear_leftovers(tmp_path)
    assert names(tmp_path) == sorted([living.name, somebody_elses.name])


def test_the_old_one_gets_its_name_back_if_the_new_one_did_not_get_it(tmp_path):
    leave_behind(tmp_path, "it.5", "replaced", dead_process())
    recover(tmp_path)
    assert (tmp_path / "it.5" / "file").read_text() == "replaced"


def test_a_replaced_one_goes_if_the_new_one_stands(tmp_path):
    (tmp_path / "it").mkdir()
    leave_behind(tmp_path, "it", "replaced", dead_process())
    clear_leftovers(tmp_path)
    assert names(tmp_path) == ["it"]


def test_loading_finds_one_that_lost_its_name(model, tmp_path):
    save_checkpoint(model, tmp_path / "it")
    hidden = leave_behind(tmp_path, "it", "replaced", dead_process())
    (hidden / "file").unlink()
    hidden.rmdir()
    (tmp_path / "it").rename(hidden)
    assert load_checkpoint(tmp_path / "it").num_timesteps == 40


def test_removing(tmp_path):
    (tmp_path / "it").mkdir()
    remove_directory(tmp_path / "it")
    assert names(tmp_path) == []


class LittleRoom:
    """No file may be larger than that, as if the disk were full."""

    def __init__(self, size):
        self.size = size

    def __enter__(self):
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.before[1]))

    def __exit__(self, *_):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


@pytest.mark.parametrize("size", [0, 200, 3000])
def test_a_disk_without_room_leaves_the_old_one_and_says_so(size, model, tmp_path):
    save_checkpoint(model, tmp_path / "it")
    with (
        LittleRoom(size),
        pytest.raises(CheckpointError, match=r"it could not be written .*The existing checkpoint is unchanged"),
    ):
        save_checkpoint(model, tmp_path / "it")
    assert names(tmp_path) == ["it"]
    assert load_checkpoint(tmp_path / "it").num_timesteps == 40


def test_training_goes_on_if_the_user_asks_for_that(model, tmp_path):
    save_checkpoint(model, tmp_path / "it")
    with LittleRoom(200), pytest.warns(RuntimeWarning, match="training continues"):
        assert save_checkpoint(model, tmp_path / "it", on_error="warn") is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert save_checkpoint(model, tmp_path / "it", on_error="warn") == tmp_path / "it"


def test_a_directory_that_cannot_be_made_is_a_clear_error(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="could not be written"):
        save_checkpoint(model, tmp_path / "file" / "it")


def test_training_need_not_wait_for_the_disk(model, tmp_path):
    for number in range(3):
        save_checkpoint(model, tmp_path / f"c{number}", wait=False)
    assert newest_checkpoint(tmp_path).name == "c2"  # asks for it, so waits
    assert names(tmp_path) == ["c0", "c1", "c2"]


def test_what_goes_wrong_meanwhile_is_told_by_the_next_one_who_asks(tmp_path):
    with atomic_directory(tmp_path / "it", always, wait=False) as place:
        place.rmdir()  # what the other thread would bring under its name
    assert list_checkpoints(tmp_path) == []  # waits, but it is not for those who read to tell
    with pytest.raises(CheckpointError, match="it could not be written"):
        finish_saving()
    finish_saving()
    assert names(tmp_path) == []


def test_an_earlier_failure_does_not_keep_the_next_one_from_being_saved(model, tmp_path):
    with atomic_directory(tmp_path / "it", always, wait=False) as place:
        place.rmdir()
    with pytest.warns(RuntimeWarning, match="an earlier checkpoint, .*it could not be written"):
        assert save_checkpoint(model, tmp_path / "next", on_error="warn") == tmp_path / "next"


def test_a_process_that_ends_can_still_save(tmp_path):
    program = f"""
import atexit, pathlib
from velora_sb3.checkpoints import atomic_directory

def save():
    with atomic_directory(pathlib.Path({str(tmp_path / "it")!r}), lambda path: True) as place:
        (place / "file").write_bytes(bytes(10))

atexit.register(save)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert names(tmp_path) == ["it"]


def test_a_process_that_ends_waits_for_what_it_saves(tmp_path):
    program = f"""
import pathlib
from velora_sb3.checkpoints import atomic_directory
with atomic_directory(pathlib.Path({str(tmp_path / "it")!r}), lambda path: True, wait=False) as place:
    (place / "file").write_bytes(bytes(10**7))
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert names(tmp_path) == ["it"]
