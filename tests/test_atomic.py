import json
import os

import pytest

from velora_sb3 import _atomic
from velora_sb3._atomic import atomic_write, replace_directory, write_json, write_text


def test_a_file_takes_its_name_at_the_end_of_the_block(tmp_path):
    path = tmp_path / "result.csv"
    path.write_text("old")
    with atomic_write(path) as partial:
        partial.write_text("new")
        assert (path.read_text(), partial.suffix) == ("old", ".csv")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_raises_changes_nothing(tmp_path):
    path = tmp_path / "result.csv"
    path.write_text("old")

    def fail():
        with atomic_write(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_file_and_directory_are_flushed_in_order(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(_atomic.secrets, "token_hex", lambda size: "0a" * size)
    monkeypatch.setattr(_atomic, "flush", lambda path: order.append((path, path.exists(), (tmp_path / "a").exists())))
    write_text(tmp_path / "a", "text")
    assert order == [(tmp_path / ".a.partial-0a0a0a0a", True, False), (tmp_path, True, True)]


def test_two_write_the_same_file_at_once(tmp_path):
    path = tmp_path / "curves.png"
    with atomic_write(path) as first:
        first.write_text("half of a long fi")
        write_text(path, "another's")  # in another process, such as the next job of an array
        assert path.read_text() == "another's"
        with first.open("a") as file:
            file.write("le")
    assert path.read_text() == "half of a long file"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_processes_left_behind_is_removed_a_day_later(tmp_path):
    old, new, other = (tmp_path / name for name in (".[a].partial-1.csv", ".[a].partial-2.csv", ".b.partial-1.csv"))
    for left in (old, new, other):
        left.write_text("half")
    for left in (old, other):
        os.utime(left, (0, 0))
    write_text(tmp_path / "[a].csv", "text")
    assert {path.name for path in tmp_path.iterdir()} == {"[a].csv", new.name, other.name}


def test_what_is_flushed_is_on_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    write_text(tmp_path / "a", "text")
    assert synced == [(tmp_path / "a").stat().st_ino, tmp_path.stat().st_ino]


def test_what_json_does_not_know_leaves_the_file_alone(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"größe": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"b": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8")) == {"größe": 1}


def test_a_directory_takes_the_place_of_another(tmp_path):
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    replace_directory(tmp_path / "new", tmp_path / "old", tmp_path / "aside")
    assert (tmp_path / "old" / "file").read_text() == "new"
    assert (tmp_path / "aside" / "file").read_text() == "old"


def test_a_directory_that_cannot_be_replaced_gets_its_name_back(tmp_path):
    (tmp_path / "old").mkdir()
    with pytest.raises(FileNotFoundError):
        replace_directory(tmp_path / "missing", tmp_path / "old", tmp_path / "aside")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
