from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest

from tests.finrl.markets import frame
from velora_sb3.finrl import data_split, load_prices, synthetic_prices


def prices():
    return frame([[1, 10], [2, 20], [3, 30]]).reset_index(drop=True)  # Thursday, Friday, Monday


def test_rows_go_by_day_and_ticker():
    by_ticker = prices().sort_values(["tic", "date"], ascending=[False, True])
    loaded = load_prices(by_ticker)
    assert loaded.index.tolist() == [0, 0, 1, 1, 2, 2]
    assert loaded["tic"].tolist() == ["A", "B"] * 3
    assert loaded["close"].tolist() == [1, 10, 2, 20, 3, 30]
    assert loaded["date"].tolist() == ["2024-03-07"] * 2 + ["2024-03-08"] * 2 + ["2024-03-11"] * 2
    assert loaded["day"].tolist() == [3, 3, 4, 4, 0, 0]


def test_the_given_frame_is_not_modified():
    given = prices().iloc[::-1].sort_values("date", kind="stable")
    before = given.copy()
    load_prices(given)
    pd.testing.assert_frame_equal(given, before)


def test_csv(tmp_path):
    made = synthetic_prices(["A", "NA"], 6)  # a ticker that pandas would take for a missing value
    for name, index in (("a.csv", False), ("b.csv", True)):
        made.to_csv(tmp_path / name, index=index)
        pd.testing.assert_frame_equal(load_prices(tmp_path / name), made, check_dtype=False)


@pytest.mark.skipif(find_spec("pyarrow") is None, reason="pandas reads Parquet files with pyarrow")
def test_parquet(tmp_path):
    made = synthetic_prices(2, 6)
    made.to_parquet(tmp_path / "prices.parquet")
    pd.testing.assert_frame_equal(load_prices(tmp_path / "prices.parquet"), made, check_dtype=False)


@pytest.mark.skipif(find_spec("pyarrow") is None, reason="Arrow's types come with pyarrow")
@pytest.mark.parametrize("kind", ["timestamp[s]", "timestamp[ns, tz=UTC]", "date32[day]", "string"])
def test_dates_of_arrow(kind):
    made = prices()
    dates = made["date"].astype("datetime64[ns]")
    dates = made["date"] if kind == "string" else dates.dt.tz_localize("UTC") if "UTC" in kind else dates
    given = made.assign(date=dates.astype(f"{kind}[pyarrow]"))
    assert load_prices(given)["date"].tolist() == load_prices(made)["date"].tolist()
    given.loc[1, "date"] = None
    with pytest.raises(ValueError, match="B, NaT: date is missing"):
        load_prices(given)


@pytest.mark.skipif(find_spec("pyarrow") is not None, reason="pyarrow is here")
def test_parquet_without_a_reader(tmp_path):
    (tmp_path / "prices.parquet").touch()
    with pytest.raises(ImportError, match="pip install pyarrow"):
        load_prices(tmp_path / "prices.parquet")


def test_times_of_day_are_kept():
    hours = prices().assign(date=np.repeat(pd.date_range("2024-03-07", periods=3, freq="6h"), 2))
    assert load_prices(hours)["date"].unique().tolist() == [
        "2024-03-07 00:00:00",
        "2024-03-07 06:00:00",
        "2024-03-07 12:00:00",
    ]


def with_value(column, row, value):
    given = prices()
    given[column] = given[column].astype(object)
    given.loc[row, column] = value
    return given.infer_objects()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            prices().drop(columns=["tic", "close"]),
            "need .* date, tic, close: tic, close missing, got date",
        ),
        (with_value("tic", 1, None), "2024-03-07: tic is missing"),
        (prices().iloc[:0], "prices are empty"),
        (with_value("date", 1, "soon"), "unreadable date"),
        (with_value("date", 1, None), "B, NaT: date is missing"),
        (pd.concat([prices(), prices().iloc[[2]]]), "A, 2024-03-08 .*: duplicate date"),
        (
            prices().iloc[[2, 3, 0, 1, 4, 5]],
            "A, 2024-03-07 .*: date earlier than in the row above .and in 1 more rows",
        ),
        (prices().iloc[:5], "B has no row for 2024-03-11"),
        (with_value("close", 3, np.nan), "B, 2024-03-08: close is missing or infinite: fill it in"),
        (with_value("close", 3, np.inf), "B, 2024-03-08: close is missing or infinite"),
        (with_value("close", 0, 0.0), "A, 2024-03-07: close is not positive"),
        (with_value("close", 0, "1,2"), "A, 2024-03-07: close is '1,2', not a number: correct it or drop the day"),
        (prices().assign(close="1"), "column close must be numeric"),
        (prices().assign(close=True), "column close must be numeric, got True and False: load the column"),
        (prices().assign(volume=pd.array([True] * 6, "boolean")), "column volume must be numeric, got True and False"),
        (prices().assign(rsi=[1.0, 2, 3, np.nan, 5, 6]), "B, 2024-03-08: rsi is missing"),
    ],
)
def test_invalid_data_is_rejected(given, message):
    with pytest.raises(ValueError, match=message):
        load_prices(given)


def test_unusable_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        load_prices(tmp_path / "none.csv")
    (tmp_path / "prices.xls").touch()
    with pytest.raises(ValueError, match="neither .csv nor .parquet"):
        load_prices(tmp_path / "prices.xls")


def test_data_split():
    made = synthetic_prices(2, 30, start="2024-01-01")
    train, trade = data_split(made, "2024-01-01", "2024-01-15"), data_split(made, "2024-01-15", "2024-03-01")
    assert train["date"].iloc[[0, -1]].tolist() == ["2024-01-01", "2024-01-12"]
    assert trade["date"].iloc[0] == "2024-01-15"
    assert len(train) + len(trade) == len(made)
    for part in (train, trade):
        assert part.index.tolist() == np.repeat(range(len(part) // 2), 2).tolist()
    with pytest.raises(ValueError, match="no prices from 2030-01-01 to 2031-01-01: the prices cover 2024-01-01"):
        data_split(made, "2030-01-01", "2031-01-01")


def test_dates_that_are_numbers():
    frame = pd.DataFrame({"date": [20240131, 20240201], "tic": "A", "close": [1.0, 2.0]})
    assert list(load_prices(frame)["date"]) == ["2024-01-31", "2024-02-01"]
    with pytest.raises(ValueError, match="unreadable date .*: write dates as 2024-01-31"):
        load_prices(frame.assign(date=[1, 2]))


def test_a_split_at_an_unreadable_date():
    prices = load_prices(pd.DataFrame({"date": ["2024-01-31"], "tic": "A", "close": [1.0]}))
    with pytest.raises(ValueError, match="unreadable date .*foo"):
        data_split(prices, "foo", "2025-01-01")


def test_files_that_are_not_csv(tmp_path):
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    (tmp_path / "empty.csv").write_bytes(b"")
    for name in ("binary.csv", "empty.csv"):
        with pytest.raises(ValueError, match=f"{name} is not a readable CSV file"):
            load_prices(tmp_path / name)
    with pytest.raises(ValueError, match="source must be a file or a data frame of prices, got None"):
        load_prices(None)


def test_two_columns_of_one_name(tmp_path):
    twice = pd.concat([prices(), prices()[["close"]]], axis=1)
    twice.to_csv(tmp_path / "twice.csv")
    for source in (twice, tmp_path / "twice.csv", prices().assign(Close=1.0)):
        with pytest.raises(ValueError, match="several columns 'close'"):
            load_prices(source)


def test_dates_in_a_format(tmp_path):
    given = prices()
    given["date"] = pd.to_datetime(given["date"]).dt.strftime("%d%m%Y")  # with a zero in front
    given.to_csv(tmp_path / "prices.csv", index=False)
    for source in (given, tmp_path / "prices.csv"):
        assert load_prices(source, date_format="%d%m%Y")["date"].unique().tolist() == [
            "2024-03-07",
            "2024-03-08",
            "2024-03-11",
        ]
    slashes = given.assign(date=["03/04/2024"] * 2 + ["04/04/2024"] * 2 + ["05/04/2024"] * 2)
    with pytest.raises(ValueError, match="ambiguous date '03/04/2024'.*date_format='%d/%m/%Y'"):
        load_prices(slashes)
    assert load_prices(slashes, date_format="%d/%m/%Y")["date"].iloc[0] == "2024-04-03"


def hours():
    times = pd.date_range("2024-10-27 00:00", periods=5, freq="h", tz="Europe/Berlin")  # 02:00 comes twice
    return load_prices(pd.DataFrame({"date": times, "tic": "A", "close": 1.0}))


def test_hours_of_a_change_of_the_clock_are_in_order():
    assert hours()["date"].str[11:].tolist() == [
        "00:00:00+02:00",
        "01:00:00+02:00",
        "02:00:00+02:00",
        "02:00:00+01:00",
        "03:00:00+01:00",
    ]
    assert hours().index.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("start", "end", "rows"),
    [
        ("2024-10-27 02:00", "2024-10-27 03:00", [2, 3]),  # by the clock on the wall
        ("2024-10-27 01:00+00:00", "2024-10-28T00:00Z", [3, 4]),
        (pd.Timestamp("2024-10-27 00:00", tz="UTC"), "2024-10-27 03:00", [2, 3]),
    ],
)
def test_a_split_of_prices_with_a_time_zone(start, end, rows):
    assert data_split(hours(), start, end)["date"].tolist() == hours()["date"].iloc[rows].tolist()


@pytest.mark.parametrize("date", ["2024-03-08T00:00:00+00:00", pd.Timestamp("2024-03-08", tz="America/New_York")])
def test_a_split_in_a_time_zone_that_prices_do_not_have(date):
    with pytest.raises(ValueError, match="end has a time zone, .*but the prices have none: write it as"):
        data_split(load_prices(prices()), "2024-03-01", date)
    with pytest.raises(ValueError, match="start has a time zone"):
        data_split(load_prices(prices()), date, "2024-03-11")


@pytest.mark.parametrize("date", [None, pd.NaT, "05/03/2024"])
def test_a_split_at_a_date_that_is_none(date):
    with pytest.raises(ValueError, match="unreadable date|ambiguous date"):
        data_split(load_prices(prices()), date, "2025-01-01")
