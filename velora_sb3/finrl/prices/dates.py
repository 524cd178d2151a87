"""Dates of prices, read without a guess and written as text that keeps time zone and resolution."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from functools import lru_cache
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

YEAR_FIRST = (
    r"^(?P<year>\d{4})(?:([-/.])(?P<month>\d{1,2})\2(?P<day>\d{1,2})|(?P<mm>\d{2})(?P<dd>\d{2})(?:\.0+)?)"
    r"(?:[T ]+(?P<hour>\d{1,2})(?P<minutes>:\d{2}(?::\d{2}(?:\.\d+)?)?)? *(?P<zone>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?)?$"
)
MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
NAMED_MONTH = (
    rf"^(?:[a-z]+,? )?(?:\d{{1,2}}[ -]{MONTH}[ -]|{MONTH} \d{{1,2}},? )\d{{4}}"
    r"(?: \d{1,2}:\d{2}(?::\d{2})?)?$"
)
EITHER_FIRST = r"^\d{1,2}([-/.])\d{1,2}\1(\d{2,4})\b"
AS_WRITTEN = re.compile(r"\d{4}-\d{2}-\d{2}(?: \d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[+-]\d{2}:\d{2})?)?")  # by Dates.text
SINCE_1970 = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
MISSING = ("", "nat", "nan", "none", "<na>")
DAY = pd.Timedelta(days=1)
TRADING_DAYS, ALL_DAYS = 252, 365  # in a year
LONGEST_BREAK = pd.Timedelta(days=4)  # of a market that opens daily: a long weekend


@dataclass(frozen=True)
class Dates:
    """Dates by their local time, with the offset from UTC if they have a time zone."""

    local: pd.Series  # dates and times without a time zone
    offset: pd.Series | None  # time differences

    @property
    def instants(self) -> pd.Series:
        """Points in time: UTC, or the local time of dates without a time zone."""
        return self.local if self.offset is None else self.local - self.offset

    def canonical(self) -> Dates:
        """The same dates, written alike wherever they are equal.

        Midnights are calendar days and have no time zone; equal times in several time zones are in UTC.
        """
        if self.offset is None or (self.local == self.local.dt.normalize()).all():
            return Dates(self.local, None)
        instants = self.instants
        if (self.offset.groupby(instants).nunique() > 1).any():
            return Dates(instants, self.offset * 0)
        return self

    def text(self) -> pd.Series:
        """``2024-01-31``, or ``2024-01-31 09:30:00`` with the fraction and the offset from UTC that there are."""
        if self.offset is None and (self.local == self.local.dt.normalize()).all():
            return pd.Series(self.local.dt.strftime("%Y-%m-%d"))
        result: pd.Series = self.local.dt.strftime("%Y-%m-%d %H:%M:%S")
        nanoseconds = self.local.dt.microsecond * 1000 + self.local.dt.nanosecond
        digits = next(digits for digits in (0, 3, 6, 9) if (nanoseconds % 10 ** (9 - digits) == 0).all())
        if digits:
            result += "." + (nanoseconds // 10 ** (9 - digits)).astype(str).str.zfill(digits)
        if self.offset is not None:
            result += self.offset.map({offset: _offset_text(offset) for offset in self.offset.unique()})
        return result


def read_dates(column: pd.Series, date_format: str | None = None) -> Dates:
    """Dates as text, as dates, or as numbers such as 20240131; missing ones are NaT.

    Raises ``ValueError`` for a date that is unreadable or ambiguous, and if only some have a time zone.
    """
    if date_format is not None and (not isinstance(date_format, str) or "%" not in date_format):
        raise ValueError(f"date_format must be a format such as '%d/%m/%Y', got {date_format!r}")
    if isinstance(column.dtype, pd.PeriodDtype):
        column = column.dt.to_timestamp()
    if isinstance(column.dtype, pd.ArrowDtype):  # as pandas.read_parquet(dtype_backend="pyarrow") gives it
        column = column.astype(object)
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return _from_datetimes(column)
    try:
        codes, unique = pd.factorize(column)  # each date is read once
    except TypeError as error:
        raise ValueError(f"unreadable date ({error}): write dates as 2024-01-31") from error
    values = pd.Series(list(unique), dtype=object)
    given_as_date = values.map(lambda value: isinstance(value, datetime.date | np.datetime64)).astype(bool)
    parts = [_from_text(values[given_as_date].map(lambda value: pd.Timestamp(value).isoformat()))]
    text = values[~given_as_date].map(lambda value: _number_text(value, date_format))
    text = text[~text.str.lower().isin(MISSING)]
    parts.append(_from_text(text) if date_format is None else _from_format(text, date_format))
    local = pd.concat([part for part, _ in parts if len(part)] or [pd.Series(dtype="datetime64[ns]")])
    offset = pd.concat([part for _, part in parts if len(part)] or [pd.Series(dtype="timedelta64[ns]")])
    if offset.notna().any() and offset.isna().any():
        aware, naive = values[offset.first_valid_index()], values[offset.index[offset.isna()][0]]
        raise ValueError(f"date {aware!s} has a time zone, {naive!s} has none: give all dates one, or none")
    local, offset = (part.reindex(codes).set_axis(column.index) for part in (local, offset))
    return Dates(local, offset if offset.notna().any() else None)


def check_order(dates: Dates) -> None:
    """Raise ``ValueError`` if a date is missing, or before the one above it."""
    if dates.local.isna().any():
        raise ValueError("a date is missing: fill it in or drop the row")
    back = dates.instants.diff() < pd.Timedelta(0)
    if back.any():
        row = int(np.argmax(back))
        raise ValueError(
            f"dates go backwards, from {dates.local.iloc[row - 1]} to {dates.local.iloc[row]}: sort by date"
        )


def read_date(value: Any) -> pd.Timestamp:
    """One date as :func:`read_dates` reads it, quickly if :func:`load_prices` wrote it."""
    is_date = isinstance(value, datetime.date | np.datetime64) or (
        isinstance(value, str) and AS_WRITTEN.fullmatch(value)
    )
    date: pd.Timestamp = pd.Timestamp(value) if is_date else _read_once(value)
    if pd.isna(date):
        raise ValueError(f"unreadable date {value!r}: write dates as 2024-01-31")
    return date


@lru_cache(maxsize=2**16)
def _read_once(value: Any) -> pd.Timestamp:
    instant: pd.Timestamp = read_dates(pd.Series([value])).instants.iloc[0]
    return instant


def usual_step(dates: Dates) -> pd.Timedelta | None:
    """The median time between successive dates, the shorter of two; None if there is only one date."""
    steps = dates.instants.drop_duplicates().sort_values().diff().dropna()
    return pd.Timedelta(steps.sort_values().iloc[(len(steps) - 1) // 2]) if len(steps) else None


def dates_per_year(dates: Dates) -> int:
    """How many such dates a year has: 252 days, or 365 if there is trading on Saturdays, and as many minutes."""
    step = usual_step(dates)
    if step is not None and step > LONGEST_BREAK:
        return round(pd.Timedelta(days=365.25) / step)
    days = dates.local[~dates.instants.duplicated()].dt.normalize()
    in_a_year = ALL_DAYS if (days.dt.day_of_week == 5).any() else TRADING_DAYS
    return in_a_year if step is None or step >= DAY else round(in_a_year * days.value_counts().median())


def _from_datetimes(column: pd.Series) -> Dates:
    if column.dt.tz is None:
        return Dates(column, None)
    local = column.dt.tz_localize(None)
    return Dates(local, local - column.dt.tz_convert("UTC").dt.tz_localize(None))


def _number_text(value: Any, date_format: str | None) -> str:
    """Text of a date; a number regains the zeros that a format needs in front."""
    if not isinstance(value, bool | np.bool_) and isinstance(value, Real) and float(value).is_integer():
        width = 0 if date_format is None else len(datetime.date(2024, 12, 31).strftime(date_format))
        return str(int(float(value))).zfill(width)
    return str(value).strip()


def _from_text(text: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Local times and offsets of text that starts with the year or names the month."""
    text = text.astype("string")
    found = text.str.extract(YEAR_FIRST)
    named = text[found["year"].isna()]
    if not (readable := named.str.match(NAMED_MONTH, flags=re.IGNORECASE)).all():
        _raise_unreadable(named[~readable].iloc[0])
    month, day = found["month"].fillna(found["mm"]).str.zfill(2), found["day"].fillna(found["dd"]).str.zfill(2)
    hour, minutes = found["hour"].fillna("00").str.zfill(2), found["minutes"].fillna(":00")
    iso = (found["year"] + "-" + month + "-" + day + "T" + hour + minutes)[found["year"].notna()]
    try:
        local = pd.concat([pd.to_datetime(iso, format="ISO8601"), pd.to_datetime(named, format="mixed")])
    except (ValueError, TypeError) as error:  # such as a month 13
        first = str(error).partition(". ")[0].partition("\n")[0]
        raise ValueError(f"unreadable date ({first}): write dates as 2024-01-31") from error
    zones = {zone: _offset(zone) for zone in found["zone"].dropna().unique()}
    return local.reindex(text.index), pd.to_timedelta(found["zone"].map(zones))


def _offset(zone: str) -> pd.Timedelta:
    """The offset from UTC of ``Z``, ``UTC``, ``GMT``, ``-05``, ``-0500`` or ``-05:00``."""
    digits = "".join(character for character in zone if character.isdigit()) or "0"
    hours, minutes = int(digits[:2]), int(digits[2:] or 0)
    return pd.Timedelta(minutes=(60 * hours + minutes) * (-1 if zone.startswith("-") else 1))


def _from_format(text: pd.Series, date_format: str) -> tuple[pd.Series, pd.Series]:
    try:
        if "%z" not in date_format:
            local = pd.to_datetime(text, format=date_format)
            return local, pd.Series(pd.NaT, index=text.index, dtype="timedelta64[ns]")
        dates = text.map(lambda each: pd.to_datetime(each, format=date_format))  # the offset changes with the clocks
        local = pd.to_datetime(dates.map(lambda each: each.tz_localize(None)))
        return local, pd.to_timedelta(dates.map(lambda each: each.utcoffset()))
    except (ValueError, TypeError) as error:
        _raise_since_1970(text.iloc[0])
        first = str(error).partition(". ")[0].partition("\n")[0]
        raise ValueError(f"a date does not match date_format={date_format!r}: {first}") from error


def _raise_since_1970(text: str) -> None:
    """Raise ``ValueError`` if a date is the time since 1970, which no format describes; between 1979 and 2033."""
    number = int(text) if text.isdecimal() else 0
    for power, (unit, name) in enumerate(SINCE_1970.items()):
        if 3e8 <= number / 1000**power < 2e9:
            raise ValueError(
                f"date {text} seems to count {name} since 1970: convert the column first, with "
                f"prices['date'] = pandas.to_datetime(prices['date'].astype('int64'), unit={unit!r})"
            )


def _raise_unreadable(text: str) -> None:
    _raise_since_1970(text)
    if match := re.match(EITHER_FIRST, text):
        separator, year = match[1], "%Y" if len(match[2]) == 4 else "%y"
        formats = " or ".join(repr(separator.join((*order, year))) for order in (("%d", "%m"), ("%m", "%d")))
        raise ValueError(
            f"ambiguous date {text!r}, day or month first: write dates as 2024-01-31, or call "
            f"load_prices(..., date_format={formats})"
        )
    raise ValueError(
        f"unreadable date {text!r}: write dates as 2024-01-31, or call load_prices(..., date_format=...) with their "
        "format, such as '%d/%m/%Y'"
    )


def _offset_text(offset: pd.Timedelta) -> str:
    minutes = round(pd.Timedelta(offset).total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
