"""A checkpoint appears whole or not at all; what cannot be written leaves the old one as it was."""

import errno
import os
import re
import resource
import subprocess
import sys
import time
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
    with pytest.raises(CheckpointError, match="already exists and will not be replaced"):
        save_checkpoint(model, path)
    assert path.exists() and not any(name.startswith(".") for name in names(tmp_path))


def test_an_empty_directory_and_a_checkpoint_are_replaced(model, tmp_path):
    (tmp_path / "it").mkdir()
    for _ in range(2):
        save_checkpoint(model, tmp_path / "it")
    assert newest_checkpoint(tmp_path) == tmp_path / "it"
    assert names(tmp_path) == ["it"]


def leave_behind(directory, name, state, machine=None):
    """What a process that was killed in the middle has left."""
    left = directory / f".{name}.{state}-{machine or directories._machine()}-7-12345678"
    left.mkdir()
    (left / "file").write_text(state)
    return left


def test_what_killed_processes_left_is_cleared(tmp_path):
    for state in ("partial", "removed"):
        leave_behind(tmp_path, "a.b", state)
    somebody_elses = tmp_path / ".git.partial-x"
    somebody_elses.mkdir()
    clear_leftovers(tmp_path)
    assert names(tmp_path) == [somebody_elses.name]


WRITER = """
import sys, pathlib
from velora_sb3.checkpoints import atomic_directory
with atomic_directory(pathlib.Path(sys.argv[1]), lambda path: True) as place:
    (place / "file").write_text("weights")
    print(place.name, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path):
    """A process in the middle of writing, and the hidden directory that it writes."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "it")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process, tmp_path / process.stdout.readline().strip()
        process.kill()


def test_what_another_process_writes_stays_whatever_its_number_means_here(writer, tmp_path):
    """In another PID namespace its number is nobody's here, or somebody else's: no process has this one."""
    process, partial = writer
    stranger = partial.with_name(re.sub(r"-\d+-", f"-{2**22 + 1}-", partial.name))
    partial.rename(stranger)
    with atomic_directory(tmp_path / "other", always) as place:
        (place / "file").write_text("x")
    assert names(tmp_path) == [stranger.name, "other"]
    stranger.rename(partial)
    process.communicate("")
    assert names(tmp_path) == ["it", "other"]


def test_its_old_one_stays_aside_until_the_new_one_has_the_name(writer, tmp_path):
    _, partial = writer
    aside = tmp_path / partial.name.replace(".partial-", ".replaced-")
    aside.mkdir()
    clear_leftovers(tmp_path)
    assert names(tmp_path) == sorted([partial.name, aside.name])


def test_killed_it_leaves_what_the_next_one_clears(writer, tmp_path):
    process, partial = writer
    process.kill()
    process.wait()
    assert partial.exists()
    clear_leftovers(tmp_path)
    assert names(tmp_path) == []


def test_what_another_machine_writes_stays_for_a_day_after_the_last_change(tmp_path):
    left = leave_behind(tmp_path, "it", "partial", machine="another-host")
    clear_leftovers(tmp_path)
    assert left.exists()
    for age, stays in ((23, True), (25, False)):
        for path in (left / "file", left):
            os.utime(path, (time.time() - age * 3600,) * 2)
        clear_leftovers(tmp_path)
        assert left.exists() == stays


def test_without_locks_nothing_is_removed_before_a_day(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EBADF, "this file system has no locks")

    monkeypatch.setattr(directories.fcntl, "flock", refuse)
    left = leave_behind(tmp_path, "a", "partial")
    with atomic_directory(tmp_path / "it", always) as place:
        (place / "file").write_text("x")
        clear_leftovers(tmp_path)
    assert names(tmp_path) == [left.name, "it"]


def test_a_new_one_that_is_taken_for_a_leftover_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    lock, calls = directories._try_to_lock, []

    def late(directory):
        calls.append(directory)
        if len(calls) == 1:
            clear_leftovers(tmp_path)
        return lock(directory)

    monkeypatch.setattr(directories, "_try_to_lock", late)
    with atomic_directory(tmp_path / "it", always) as place:
        (place / "file").write_text("x")
    assert names(tmp_path) == ["it"]


def test_the_old_one_gets_its_name_back_if_the_new_one_did_not_get_it(tmp_path):
    leave_behind(tmp_path, "it.5", "replaced")
    recover(tmp_path)
    assert (tmp_path / "it.5" / "file").read_text() == "replaced"


def test_a_replaced_one_goes_if_the_new_one_stands(tmp_path):
    (tmp_path / "it").mkdir()
    leave_behind(tmp_path, "it", "replaced")
    clear_leftovers(tmp_path)
    assert names(tmp_path) == ["it"]


def test_loading_finds_one_that_lost_its_name(model, tmp_path):
    save_checkpoint(model, tmp_path / "it")
    hidden = leave_behind(tmp_path, "it", "replaced")
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
