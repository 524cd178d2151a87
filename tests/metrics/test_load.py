import math
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from tests.metrics.short_episodes import recorded
from velora_sb3.metrics import load_metrics, load_runs
from velora_sb3.metrics.database import transact

COLUMNS = [
    *("run", "run_id", "algorithm", "env", "seed", "total_timesteps", "status", "started", "ended"),
    *("episode", "return", "length", "moving_average", "moving_deviation", "timesteps", "seconds", "env_index"),
]


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    path = tmp_path_factory.mktemp("metrics") / "m.db"
    recorded(64, path, run="first")
    recorded(128, path, run="second")
    return path


@pytest.fixture
def empty(tmp_path):
    transact(tmp_path / "empty.db", lambda connection: None, 1.0, create=True)
    return tmp_path / "empty.db"


def test_all_runs_one_below_the_other(two_runs):
    rows = load_metrics(two_runs)
    assert list(rows.columns[: len(COLUMNS)]) == COLUMNS
    assert all(column.startswith("train/") for column in rows.columns[len(COLUMNS) :])
    assert len(rows.columns) > len(COLUMNS)
    assert rows[["run_id", "episode"]].apply(tuple, axis=1).is_monotonic_increasing
    assert rows["run"].unique().tolist() == ["first", "second"]
    assert rows.index.tolist() == list(range(len(rows)))


@pytest.mark.parametrize(("run", "name"), [("first", "first"), ("second", "second"), (2, "second")])
def test_one_run(two_runs, run, name):
    everything = load_metrics(two_runs)
    expected = everything[everything["run"] == name].reset_index(drop=True)
    one = load_metrics(str(two_runs), run)
    pd.testing.assert_frame_equal(one.dropna(axis="columns", how="all"), expected.dropna(axis="columns", how="all"))


@pytest.mark.parametrize("run", ["third", 3, "1"])
def test_an_unknown_run(two_runs, run):
    with pytest.raises(ValueError, match=f"no run {run!r}; available: first .1., second .2."):
        load_metrics(two_runs, run)


def test_runs(two_runs):
    runs = load_runs(two_runs)
    assert list(runs.columns) == [*COLUMNS[:9], "episodes", "config", "versions"]
    assert runs["episodes"].tolist() == load_metrics(two_runs).groupby("run_id").size().tolist()
    assert runs["config"][1]["callbacks"][0]["settings"]["run"] == "second"


def test_nothing_yet(empty):
    rows, runs = load_metrics(empty), load_runs(empty)
    assert (len(rows), len(runs)) == (0, 0)
    assert list(rows.columns) == COLUMNS
    with pytest.raises(ValueError, match="available: none"):
        load_metrics(empty, "x")


def test_types_do_not_depend_on_the_contents(two_runs, empty):
    rows = load_metrics(two_runs)
    assert load_metrics(empty).dtypes.to_dict() == rows[COLUMNS].dtypes.to_dict()


def test_a_run_without_an_episode_and_a_seed(tmp_path):
    def insert(connection):
        connection.execute(
            "INSERT INTO runs VALUES (5, 'r', 'PPO', 'E', NULL, 9, '{}', '{}', ?, NULL, 'running')", when
        )

    when = ("2026-01-02T03:04:05.000006+00:00",)
    transact(tmp_path / "m.db", insert, 1.0, create=True)
    runs = load_runs(tmp_path / "m.db")
    assert (runs["run_id"].tolist(), runs["episodes"].tolist()) == ([5], [0])
    assert runs["seed"].isna().all()
    assert runs["started"].tolist() == [pd.Timestamp("2026-01-02T03:04:05.000006", tz="UTC")]
    assert runs["ended"].isna().all()
    assert len(load_metrics(tmp_path / "m.db")) == len(load_metrics(tmp_path / "m.db", "r")) == 0


def test_losses_that_are_no_numbers(tmp_path):
    recorded(64, tmp_path / "m.db")
    with closing(sqlite3.connect(tmp_path / "m.db")) as connection, connection:
        connection.execute("""UPDATE episodes SET losses = '{"train/a": NaN, "train/b": Infinity}' WHERE number = 2""")
    second = load_metrics(tmp_path / "m.db").iloc[1]
    assert math.isnan(second["train/a"])
    assert second["train/b"] == math.inf


def test_reading_leaves_nothing_behind(two_runs):
    before = two_runs.read_bytes()
    load_metrics(two_runs)
    assert [path.name for path in two_runs.parent.iterdir()] == ["m.db"]
    assert two_runs.read_bytes() == before


def test_the_page_describes_every_column():
    page = (Path(__file__).parents[2] / "docs" / "callbacks" / "record-metrics.md").read_text()
    columns = page.partition("\n## Columns")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+?`) \|", columns, re.M)
    assert re.findall(r"`(\w+)`", " ".join(rows)) == COLUMNS
