"""Load and check prices, in the layout that trading environments expect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = ("date", "tic", "open", "high", "low", "close", "volume", "day")
NEEDED = ("date", "tic", "close")


def load_prices(source: str | Path | pd.DataFrame) -> pd.DataFrame:
    """Load prices and check them. Invalid data raises an error that names the first bad row.

    Args:
        source: A CSV or Parquet file, or a data frame: one row per ticker and day, with ``date``, ``tic`` (the ticker),
            ``close`` and any other columns, such as ``open``, ``high``, ``low``, ``volume`` and indicators. Each
            ticker's dates are in ascending order, and all tickers have the same dates.

    Returns:
        The rows sorted by date and ticker, in FinRL's layout: the index is the day number, from 0; ``date`` is text
        such as ``2024-01-31``, with the time of day if there is one; ``day`` is the day of the week, 0 for Monday.

    Raises:
        ValueError: If a column is missing; a date is unreadable, out of order or duplicated; a ticker has no name or
            lacks a date; a number is missing or infinite; or a price is not positive.
        FileNotFoundError: If there is no such file.
        ImportError: If ``source`` is a Parquet file and pyarrow is not installed.
    """
    if not isinstance(source, str | Path | pd.DataFrame):
        raise ValueError(f"source must be a file or a data frame of prices, got {source!r}")
    frame = source.copy() if isinstance(source, pd.DataFrame) else _read(Path(source))
    frame = frame.loc[
        :, [not str(name).startswith("Unnamed:") for name in frame.columns]
    ]  # the index, as to_csv() writes it
    if missing := [name for name in NEEDED if name not in frame.columns]:
        raise ValueError(
            f"prices need the columns {', '.join(NEEDED)}: {', '.join(missing)} missing, "
            f"got {', '.join(map(str, frame.columns)) or 'none'}"
        )
    if frame.empty:
        raise ValueError("prices are empty: expected a row per ticker and day")
    frame = frame.reset_index(drop=True)
    dates = _read_dates(frame["date"])
    nameless = frame["tic"].isna() | (frame["tic"].astype(str) == "")
    _raise_first(frame, nameless.to_numpy(), "tic is missing", "name the ticker")
    frame["tic"] = frame["tic"].astype(str)
    _check_dates(frame["tic"], dates)
    frame["date"], frame["day"] = _as_text(dates), dates.dt.day_of_week
    check_numbers(frame)
    order = pd.DataFrame({"date": dates, "tic": frame["tic"]}).sort_values(["date", "tic"]).index
    first = [name for name in COLUMNS if name in frame.columns]
    frame = frame.loc[order, [*first, *(name for name in frame.columns if name not in first)]]
    return number_days(frame)


def data_split(prices: pd.DataFrame, start: str, end: str) -> pd.DataFrame:
    """The days from ``start`` (inclusive) to ``end`` (exclusive), renumbered from 0.

    Args:
        prices: Prices as :func:`load_prices` returns them.
        start: The first date, such as ``2024-01-31``.
        end: The date after the last one.

    Returns:
        A new frame.

    Raises:
        ValueError: If a date is unreadable, or there are no prices in that range.
    """
    dates = pd.to_datetime(prices["date"])
    first, after = (_read_dates(pd.Series([date])).iloc[0] for date in (start, end))
    chosen = prices[(dates >= first) & (dates < after)]
    if chosen.empty:
        raise ValueError(f"no prices from {start} to {end}: the prices cover {dates.min()} to {dates.max()}")
    return number_days(chosen.sort_values(["date", "tic"]))


def _read_dates(column: pd.Series) -> pd.Series:
    """Dates as text, as dates, or as numbers such as 20240131."""
    numbers = pd.api.types.is_numeric_dtype(column)  # pandas would read them as nanoseconds since 1970
    try:
        return pd.to_datetime(
            column.astype("Int64").astype("string") if numbers else column, format="%Y%m%d" if numbers else None
        )
    except (ValueError, TypeError) as error:
        first = str(error).partition(". ")[0].partition("\n")[0]
        raise ValueError(f"unreadable date ({first}): write dates as 2024-01-31") from error


def number_days(prices: pd.DataFrame) -> pd.DataFrame:
    """A copy whose index is the day number, from 0."""
    result = prices.copy()
    result.index = pd.Index(pd.factorize(result["date"])[0])
    return result


def check_numbers(prices: pd.DataFrame) -> None:
    """Raise ``ValueError`` at the first number that is missing or infinite, or price that is not positive."""
    for name in prices.columns:
        column = prices[name]
        if name in ("date", "tic"):
            continue
        if not pd.api.types.is_numeric_dtype(column):
            if name in COLUMNS:
                raise ValueError(f"column {name} must be numeric, got {column.dtype}")
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
        names = pd.read_csv(path, nrows=0).columns
    except (ValueError, pd.errors.ParserError) as error:  # empty, or not text
        raise ValueError(f"{path} is not a readable CSV file: {error}") from error
    missing = {name: ["", "NA", "N/A", "NaN", "nan", "null"] for name in names if name != "tic"}  # NA is a valid ticker
    return pd.read_csv(path, dtype={"tic": str}, na_values=missing, keep_default_na=False)


def _check_dates(tickers: pd.Series, dates: pd.Series) -> None:
    rows = pd.DataFrame({"tic": tickers, "date": dates})
    _raise_first(rows, dates.isna().to_numpy(), "date is missing", "fill it in or drop the row")
    _raise_first(rows, rows.duplicated().to_numpy(), "duplicate date", "keep one row per ticker and day")
    back = rows.groupby("tic")["date"].diff() < pd.Timedelta(0)
    _raise_first(rows, back.to_numpy(), "date earlier than in the row above", "sort by date")
    table = pd.crosstab(rows["date"], rows["tic"])
    if (gaps := table == 0).to_numpy().any():
        date, ticker = next((date, ticker) for ticker in gaps for date in gaps.index[gaps[ticker]])
        raise ValueError(
            f"{ticker} has no row for {date}, but other tickers do: fill the gap, or drop the day for all tickers"
        )


def _raise_first(rows: pd.DataFrame, bad: np.ndarray, problem: str, fix: str) -> None:
    if bad.any():
        row = rows.iloc[int(np.argmax(bad))]
        more = f" (and in {bad.sum() - 1} more rows)" if bad.sum() > 1 else ""
        raise ValueError(f"{row['tic']}, {row['date']}: {problem}{more}: {fix}")


def _as_text(dates: pd.Series) -> Any:
    with_time = (dates != dates.dt.normalize()).any()
    return dates.dt.strftime("%Y-%m-%d %H:%M:%S" if with_time else "%Y-%m-%d")
