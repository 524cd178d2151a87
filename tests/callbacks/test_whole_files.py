import json

import pytest

from velora_sb3.callbacks.whole_files import whole_directory, write_json


def tree(path):
    return {str(file.relative_to(path)): file.read_text() for file in path.rglob("*") if file.is_file()}


def test_nothing_stands_under_the_name_before_the_end(tmp_path):
    with whole_directory(tmp_path / "a") as directory:
        (directory / "file").write_text("1")
        assert not (tmp_path / "a").exists()
        assert directory.parent == tmp_path
        assert directory.name.startswith(".")
    assert tree(tmp_path) == {"a/file": "1"}


def test_a_directory_of_that_name_is_replaced_as_a_whole(tmp_path):
    for name in ("old", "new"):
        with whole_directory(tmp_path / "a") as directory:
            (directory / name).write_text(name)
    assert tree(tmp_path) == {"a/new": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_leaves_everything_as_it_was(tmp_path, error):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("old")

    def write():
        with whole_directory(tmp_path / "a") as directory:
            (directory / "file").write_text("new")
            raise error

    with pytest.raises(error):
        write()
    assert tree(tmp_path) == {"a/file": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_a_killed_program_left_is_in_nobodys_way(tmp_path):
    for left in (".a.partial", ".a.replaced", "a"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "file").write_text("torn")
    with whole_directory(tmp_path / "a") as directory:
        (directory / "file").write_text("whole")
    assert tree(tmp_path) == {"a/file": "whole"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_other_directories_stay(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "file").write_text("b")
    with whole_directory(tmp_path / "a"):
        pass
    assert tree(tmp_path) == {"b/file": "b"}


def test_json(tmp_path):
    write_json(tmp_path / "a.json", {"größe": [1, None, 2.5]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"größe": [1, None, 2.5]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"größe": [1, None, 2.5]}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
