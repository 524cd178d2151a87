import datetime

import numpy as np
import pandas as pd
import pytest

from velora_sb3.finrl.prices.dates import dates_per_year, read_date, read_dates, usual_step


def text(values, date_format=None):
    return read_dates(pd.Series(values), date_format).canonical().text().tolist()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["2024-01-31", "2024/2/1", "20240202", "2024.02.03"],
         ["2024-01-31", "2024-02-01", "2024-02-02", "2024-02-03"]),
        ([20240131, 20240201], ["2024-01-31", "2024-02-01"]),
        ([20240131.0, 20240201.0], ["2024-01-31", "2024-02-01"]),
        (np.array([20240131, np.int32(20240201), "20240202", 20240203.0], dtype=object),
         ["2024-01-31", "2024-02-01", "2024-02-02", "2024-02-03"]),
        ([datetime.date(2024, 1, 31), pd.Timestamp("2024-02-01"), np.datetime64("2024-02-02"), "2024-02-03"],
         ["2024-01-31", "2024-02-01", "2024-02-02", "2024-02-03"]),
        (["31-Jan-2024", "Feb 1, 2024", "2 February 2024"], ["2024-01-31", "2024-02-01", "2024-02-02"]),
        (pd.period_range("2024-01", periods=2, freq="M"), ["2024-01-01", "2024-02-01"]),
        (pd.Categorical(["2024-01-31"]), ["2024-01-31"]),
        (["2024-01-31 9:30", "2024-01-31T10"], ["2024-01-31 09:30:00", "2024-01-31 10:00:00"]),
    ],
)  # fmt: skip
def test_dates_are_read(values, expected):
    assert text(values) == expected


@pytest.mark.parametrize(
    ("step", "second"),
    [("500ms", "10:00:00.500"), ("3us", "10:00:00.000003"), ("7ns", "10:00:00.000000007"), ("1s", "10:00:01")],
)
def test_the_resolution_is_kept(step, second):
    times = pd.date_range("2024-03-04 10:00", periods=3, freq=step)
    for values in (times, times.astype(str), times.tz_localize("UTC")):
        assert text(values)[1] == "2024-03-04 " + second + (
            "+00:00" if values.dtype == times.tz_localize("UTC").dtype else ""
        )
        assert len(set(text(values))) == 3


def test_the_time_zone_is_kept():
    hours = pd.date_range("2024-10-27 01:00", periods=3, freq="h", tz="Europe/Berlin")  # the clock goes back
    expected = ["2024-10-27 01:00:00+02:00", "2024-10-27 02:00:00+02:00", "2024-10-27 02:00:00+01:00"]
    assert text(hours) == text([str(hour) for hour in hours]) == text(list(hours)) == expected
    assert text(expected) == expected
    read = read_dates(pd.Series(expected))
    assert read.instants.diff().dropna().eq(pd.Timedelta(hours=1)).all()
    assert text(["2024-01-31T10:00Z", "2024-01-31 11:00 UTC"]) == [
        "2024-01-31 10:00:00+00:00",
        "2024-01-31 11:00:00+00:00",
    ]


def test_days_have_no_time_zone():
    days = pd.date_range("2024-03-09", periods=3, tz="America/New_York")  # the clock goes forward on the second
    assert text(days) == text([str(day) for day in days]) == ["2024-03-09", "2024-03-10", "2024-03-11"]


def test_one_time_in_two_zones_has_one_text():
    assert text(["2024-01-31 10:00-05:00", "2024-01-31 15:00+00:00"]) == ["2024-01-31 15:00:00+00:00"] * 2


@pytest.mark.parametrize(
    ("values", "date_format", "expected"),
    [
        (["01/02/2024", "13/02/2024"], "%d/%m/%Y", ["2024-02-01", "2024-02-13"]),
        (["01/02/2024", "01/13/2024"], "%m/%d/%Y", ["2024-01-02", "2024-01-13"]),
        ([1022024, 11022024], "%d%m%Y", ["2024-02-01", "2024-02-11"]),  # a number loses the zero in front
        (
            ["09.03.2024 10:00 -0500", "11.03.2024 10:00 -0400"],
            "%d.%m.%Y %H:%M %z",
            ["2024-03-09 10:00:00-05:00", "2024-03-11 10:00:00-04:00"],
        ),
        ([pd.Timestamp("2024-01-31"), "01.02.2024"], "%d.%m.%Y", ["2024-01-31", "2024-02-01"]),
    ],
)
def test_a_format(values, date_format, expected):
    assert text(values, date_format) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("01/02/2024", "ambiguous date '01/02/2024'.*'%d/%m/%Y' or '%m/%d/%Y'"),
        ("13/02/2024", "ambiguous date"),  # so is the next row
        ("1.2.24", "ambiguous date '1.2.24'.*'%d.%m.%y'"),
        ("24-01-02", "ambiguous date"),
        ("2024-13-01", "unreadable date"),
        ("10:30", "unreadable date '10:30'"),
        ("2024", "unreadable date"),
        (1704067200, "1704067200 seems to count seconds since 1970: .* unit='s'"),
        (631152000.0, "631152000 seems to count seconds since 1970"),  # 1990
        ("1704067200000", "milliseconds since 1970: .* unit='ms'"),
        (1704067200000000, "microseconds since 1970: .* unit='us'"),
        (1704067200000000000, "nanoseconds since 1970: .* unit='ns'"),
        (2024013109, "unreadable date '2024013109'"),  # with the hour
        (20240131093000, "unreadable date '20240131093000'"),
        (True, "unreadable date 'True'"),
        ([2024], "unreadable date"),
    ],
)
def test_what_cannot_be_read_for_certain_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        read_dates(pd.Series([value]))


def test_formats_that_are_none():
    for given in ("mixed", "", 5):
        with pytest.raises(ValueError, match="date_format must be a format such as"):
            read_dates(pd.Series(["2024-01-31"]), given)
    with pytest.raises(ValueError, match="'2024-01-31'|2024-01-31.*does"):
        read_dates(pd.Series(["2024-01-31"]), "%d/%m/%Y")


def test_no_format_describes_the_time_since_1970():
    for given in ("%Y-%m-%d", "%s"):
        with pytest.raises(ValueError, match="1704067200000 seems to count milliseconds since 1970: convert"):
            read_dates(pd.Series([1704067200000]), given)
    assert text([2024013109], "%Y%m%d%H") == ["2024-01-31 09:00:00"]


def test_all_dates_have_a_time_zone_or_none_has():
    with pytest.raises(ValueError, match="date 2024-01-31 10:00Z has a time zone, 2024-01-31 11:00 has none"):
        read_dates(pd.Series(["2024-01-31 10:00Z", "2024-01-31 11:00"]))


def test_missing_dates():
    assert read_dates(pd.Series(["2024-01-31", None, "", "nan"])).local.isna().tolist() == [False, True, True, True]
    with pytest.raises(ValueError, match="unreadable date None"):
        read_date(None)


def test_the_usual_step():
    assert usual_step(read_dates(pd.Series(["2024-01-31"] * 2))) is None
    days = pd.Series(pd.bdate_range("2024-03-07", periods=9).repeat(2))
    assert usual_step(read_dates(days)) == pd.Timedelta(days=1)


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        (pd.bdate_range("2024-03-07", periods=20), 252),
        (pd.date_range("2024-03-07", periods=20), 365),
        (pd.DatetimeIndex(["2024-03-08", "2024-03-11"]), 252),  # over a weekend
        (pd.DatetimeIndex(["2024-03-08"]), 252),
        (pd.date_range("2024-03-07", periods=20, freq="7D"), 52),
        (pd.date_range("2024-01-31", periods=20, freq="ME"), 12),
        (pd.date_range("2024-03-07", periods=24 * 9, freq="h", tz="UTC"), 365 * 24),
        (pd.DatetimeIndex([day + pd.Timedelta(minutes=570 + minute) for day in pd.bdate_range("2024-03-07", periods=4)
                           for minute in range(390)]), 252 * 390),
    ],
)  # fmt: skip
def test_periods_in_a_year(dates, expected):
    assert dates_per_year(read_dates(pd.Series(dates))) == expected
