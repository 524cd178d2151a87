from velora_sb3.cli.experiment.csv_rows import append_rows, start_rows

COLUMNS = ("timesteps", "return")


def lines(path):
    return path.read_text().splitlines()


def test_a_new_run_starts_a_new_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old\n")
    start_rows(path, COLUMNS, 0)
    append_rows(path, [(3, 1.5), (7, 2.5)])
    assert lines(path) == ["timesteps,return", "3,1.5", "7,2.5"]


def test_a_run_that_goes_on_keeps_what_came_before(tmp_path):
    path = tmp_path / "a.csv"
    start_rows(path, COLUMNS, 0)
    append_rows(path, [(3, 1.5), (5, 2.0), (7, 2.5)])
    start_rows(path, COLUMNS, 5)
    append_rows(path, [(7, 2.5)])
    assert lines(path) == ["timesteps,return", "3,1.5", "5,2.0", "7,2.5"]
    assert [found.name for found in tmp_path.iterdir()] == ["a.csv"]


def test_a_line_that_was_cut_short_goes(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("timesteps,return\n3,1.5\n4")
    start_rows(path, COLUMNS, 9)
    assert lines(path) == ["timesteps,return", "3,1.5"]


def test_a_file_that_is_gone_is_made(tmp_path):
    start_rows(tmp_path / "a.csv", COLUMNS, 9)
    assert lines(tmp_path / "a.csv") == ["timesteps,return"]
