"""Load and check prices, in the layout that trading environments expect."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from velora_sb3.finrl.prices.dates import Dates, read_dates
from velora_sb3.finrl.prices.yahoo import TEXT, from_yahoo, has_two_header_rows, read_two_header_rows

COLUMNS = ("date", "tic", "open", "high", "low", "close", "volume", "day")
NEEDED = ("date", "tic", "close")
MISSING = ["", "NA", "N/A", "NaN", "nan", "null"]


def load_prices(
    source: str | Path | pd.DataFrame, *, date_format: str | None = None, ticker: str | None = None
) -> pd.DataFrame:
    """Load prices and check them. Invalid data raises an error that names the first bad row.

    What ``yfinance.download`` returns, or ``to_csv()`` writes of it, loads unchanged: one ticker or several, with any
    ``group_by``. Its names become lower case: ``Close`` is ``close``, ``Adj Close`` is ``adj_close``.

    Args:
        source: A CSV or Parquet file, or a data frame: one row per ticker and date, with ``date``, ``tic`` (the
            ticker), ``close`` and any other columns, such as ``open``, ``high``, ``low``, ``volume`` and indicators.
            Each ticker's dates are in ascending order, and all tickers have the same dates.
        date_format: Format of dates that are text, in the codes of ``strptime``, such as ``"%d/%m/%Y"``. Not needed
            for dates that start with the year, such as ``2024-01-31`` or ``20240131``, or name the month.
        ticker: The ticker of prices that have no column ``tic``.

    Returns:
        The rows sorted by date and ticker, in FinRL's layout: the index is the day number, from 0, or that of the
        minute or hour where there are several a day; ``date`` is text such as ``2024-01-31``, with the time of day if
        there is one, to its last digit, and its offset from UTC if it has a time zone; ``day`` is the day of the week,
        0 for Monday. Dates at midnight are whole days, without a time zone.

    Raises:
        ValueError: If a column is missing or duplicated; a date is unreadable, ambiguous, out of order or duplicated,
            or has a time zone where others have none; a ticker has no name or lacks a date; a number is missing or
            infinite; or a price is not positive, or True or False.
        FileNotFoundError: If there is no such file.
        ImportError: If ``source`` is a Parquet file and pyarrow is not installed.
    """
    if not isinstance(source, str | Path | pd.DataFrame):
        raise ValueError(f"source must be a file or a data frame of prices, got {source!r}")
    frame = source.copy() if isinstance(source, pd.DataFrame) else _read(Path(source))
    frame = from_yahoo(frame)
    frame = frame.loc[
        :, [not str(name).startswith("Unnamed:") for name in frame.columns]
    ]  # the index, as to_csv() writes it
    if ticker is not None:
        if "tic" in frame.columns:
            raise ValueError(f"prices already have a column tic: leave out ticker={ticker!r}")
        frame["tic"] = ticker
    check_columns(frame)
    if frame.empty:
        raise ValueError("prices are empty: expected a row per ticker and date")
    frame = frame.reset_index(drop=True)
    dates = read_dates(frame["date"], date_format).canonical()
    nameless = frame["tic"].isna() | (frame["tic"].astype(str) == "")
    _raise_first(frame, nameless.to_numpy(), "tic is missing", "name the ticker")
    frame["tic"] = frame["tic"].astype(str)
    _check_dates(frame["tic"], dates)
    frame["date"], frame["day"] = dates.text(), dates.local.dt.day_of_week
    check_numbers(frame)
    first = [name for name in COLUMNS if name in frame.columns]
    frame = frame.loc[_order(frame["tic"], dates), [*first, *(name for name in frame.columns if name not in first)]]
    return number_days(frame)


def data_split(prices: pd.DataFrame, start: str, end: str) -> pd.DataFrame:
    """The days from ``start`` (inclusive) to ``end`` (exclusive), renumbered from 0.

    Args:
        prices: Prices as :func:`load_prices` returns them.
        start: The first date, such as ``2024-01-31``. Without a time zone it is the local time of the prices.
        end: The date after the last one.

    Returns:
        A new frame.

    Raises:
        ValueError: If a date is unreadable, or has a time zone that the prices do not have; or there are no prices in
            that range.
    """
    check_columns(prices, ("date", "tic"))
    dates = read_dates(prices["date"].reset_index(drop=True))
    chosen = _not_before("start", start, dates) & ~_not_before("end", end, dates)
    if not chosen.any():
        raise ValueError(
            f"no prices from {start} to {end}: the prices cover {dates.local.min()} to {dates.local.max()}"
        )
    order = _order(prices["tic"].reset_index(drop=True), dates)
    return number_days(prices.iloc[order[chosen[order]]])


def _not_before(name: str, date: object, dates: Dates) -> np.ndarray:
    """True from the first date on that is not before the one given."""
    given = read_dates(pd.Series([date]))
    if given.local.isna().any():
        raise ValueError(f"{name} is an unreadable date, {date!r}: write it as 2024-01-31")
    if given.offset is None:
        # By the clock on the wall, which can go back: everything after the first such moment counts.
        return np.asarray(dates.instants >= dates.instants[dates.local >= given.local.iloc[0]].min())
    if dates.offset is None:
        raise ValueError(f"{name} has a time zone, {date!s}, but the prices have none: write it as 2024-01-31")
    return np.asarray(dates.instants >= given.instants.iloc[0])


def _order(tickers: pd.Series, dates: Dates) -> np.ndarray:
    """The rows by date and ticker."""
    table = pd.DataFrame({"date": dates.instants, "tic": tickers})
    return table.sort_values(["date", "tic"]).index.to_numpy()


def number_days(prices: pd.DataFrame) -> pd.DataFrame:
    """A copy whose index is the day number, from 0."""
    result = prices.copy()
    result.index = pd.Index(pd.factorize(result["date"])[0])
    return result


def check_columns(prices: pd.DataFrame, needed: Sequence[str] = NEEDED) -> None:
    """Raise ``ValueError`` if a column is missing or there are two of the same name."""
    got = ", ".join(map(str, prices.columns)) or "none"
    if missing := [name for name in needed if name not in prices.columns]:
        hint = "; for the prices of one stock, call load_prices(..., ticker=...)" if missing == ["tic"] else ""
        raise ValueError(f"prices need the columns {', '.join(needed)}: {', '.join(missing)} missing, got {got}{hint}")
    if prices.columns.has_duplicates:
        twice = prices.columns[prices.columns.duplicated()][0]
        raise ValueError(f"prices have several columns {twice!r}: keep or rename one of them, got {got}")


def check_numbers(prices: pd.DataFrame, numeric: Sequence[str] = COLUMNS) -> None:
    """Raise ``ValueError`` at the first number that is missing or infinite, or price that is not positive.

    Columns in ``numeric`` must hold numbers; others may be text.
    """
    for name in prices.columns:
        column = prices[name]
        if name in ("date", "tic"):
            continue
        if name in COLUMNS and pd.api.types.infer_dtype(column) == "boolean":
            raise ValueError(f"column {name} must be numeric, got True and False: load the column with the numbers")
        if not pd.api.types.is_numeric_dtype(column):
            if name in numeric:
                text = (pd.to_numeric(column, errors="coerce").isna() & column.notna()).to_numpy()
                if text.any():
                    value = column.iloc[int(np.argmax(text))]
                    _raise_first(prices, text, f"{name} is {value!r}, not a number", "correct it or drop the day")
                fix = "convert it with pandas.to_numeric"
                raise ValueError(f"column {name} must be numeric, got {column.dtype}: {fix}")
            continue
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        _raise_first(prices, ~np.isfinite(numbers), f"{name} is missing or infinite", "fill it in or drop the day")
        if name in ("open", "high", "low", "close"):
            _raise_first(prices, numbers <= 0, f"{name} is not positive", "correct it or drop the day")


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}{': it is a directory' if path.is_dir() else ''}")
    if path.suffix.lower() in (".parquet", ".pq"):
        try:
            return pd.read_parquet(path)
        except ImportError as error:
            raise ImportError("Parquet files need pyarrow: pip install pyarrow") from error
    if path.suffix.lower() != ".csv":
        raise ValueError(f"{path.name} is neither .csv nor .parquet: read it with pandas and pass the data frame")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(islice(csv.reader(file), 3))
        if not rows:
            raise ValueError("it is empty")
        if has_two_header_rows(rows):
            return read_two_header_rows(path, rows, MISSING)
        names = pd.Index(rows[0])
        if names[names != ""].has_duplicates:  # pandas would rename them
            check_columns(pd.DataFrame(columns=names), ())
        missing = {name: MISSING for name in names if name not in ("tic", "Ticker")}  # NA is a valid ticker
        text = dict.fromkeys((name for name in TEXT if name in names), str)
        return pd.read_csv(path, dtype=text, na_values=missing, keep_default_na=False)
    except (ValueError, csv.Error) as error:  # empty, or not text
        raise ValueError(f"{path} is not a readable CSV file: {error}") from error


def _check_dates(tickers: pd.Series, dates: Dates) -> None:
    rows = pd.DataFrame({"tic": tickers, "date": dates.local})
    at = pd.DataFrame({"tic": tickers, "date": dates.instants})
    _raise_first(rows, dates.local.isna().to_numpy(), "date is missing", "fill it in or drop the row")
    _raise_first(rows, at.duplicated().to_numpy(), "duplicate date", "keep one row per ticker and date")
    back = at.groupby("tic")["date"].diff() < pd.Timedelta(0)
    _raise_first(rows, back.to_numpy(), "date earlier than in the row above", "sort by date")
    table = pd.crosstab(at["date"], at["tic"])
    if (gaps := table == 0).to_numpy().any():
        date, ticker = next((date, ticker) for ticker in gaps for date in gaps.index[gaps[ticker]])
        raise ValueError(
            f"{ticker} has no row for {rows['date'][at['date'] == date].iloc[0]}, but other tickers do: fill the gap, "
            "or drop the day for all tickers"
        )


def _raise_first(rows: pd.DataFrame, bad: np.ndarray, problem: str, fix: str) -> None:
    if bad.any():
        row = rows.iloc[int(np.argmax(bad))]
        more = f" (and in {bad.sum() - 1} more rows)" if bad.sum() > 1 else ""
        raise ValueError(f"{row['tic']}, {row['date']}: {problem}{more}: {fix}")
