import pytest

from velora_sb3.cli.errors import UserError
from velora_sb3.cli.experiment.directory import create_run_directory, read_result, write_result


def test_numbers_count_on_and_none_is_used_twice(tmp_path):
    (tmp_path / "ddpg-Pendulum-v1-4").mkdir()
    (tmp_path / "ddpg-Pendulum-v1-x").mkdir()
    made = [create_run_directory(None, "ddpg", "Pendulum-v1", tmp_path).name for _ in range(2)]
    assert made == ["ddpg-Pendulum-v1-5", "ddpg-Pendulum-v1-6"]


def test_ids_with_slashes_make_one_directory(tmp_path):
    assert create_run_directory(None, "dqn", "pkg:ALE/Pong-v5", tmp_path).parent == tmp_path


def test_a_named_one_is_made_with_its_parents(tmp_path):
    assert create_run_directory(str(tmp_path / "a" / "b"), "ddpg", "Pendulum-v1").is_dir()


def test_an_existing_one_is_refused(tmp_path):
    with pytest.raises(UserError, match="already exists: choose another with --run-dir"):
        create_run_directory(str(tmp_path), "ddpg", "Pendulum-v1")


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot create the run directory"):
        create_run_directory(str(tmp_path / "file" / "run"), "ddpg", "Pendulum-v1")


def test_how_a_run_went_comes_back(tmp_path):
    assert read_result(tmp_path) is None
    write_result(tmp_path, {"steps": 3, "planned_steps": 4, "returns": [1.0]})
    assert read_result(tmp_path) == {"steps": 3, "planned_steps": 4, "returns": [1.0]}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize("text", ["", "[]", '{"steps": 3}', '{"steps": "x", "planned_steps": 1}'])
def test_another_file_of_that_name_is_no_result(text, tmp_path):
    (tmp_path / "result.json").write_text(text)
    assert read_result(tmp_path) is None
