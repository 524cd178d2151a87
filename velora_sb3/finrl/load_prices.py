"""Prices from a file or a data frame, checked, in the form that trading environments take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = ("date", "tic", "open", "high", "low", "close", "volume", "day")
NEEDED = ("date", "tic", "close")


def load_prices(source: str | Path | pd.DataFrame) -> pd.DataFrame:
    """Read prices, and refuse what would mislead training.

    Args:
        source: A CSV or Parquet file, or a frame: one row for each ticker and day, with ``date``, ``tic`` (the
            ticker), ``close``, and any others, such as ``open``, ``high``, ``low``, ``volume`` and indicators. For
            each ticker the dates go forward, and all tickers have the same.

    Returns:
        The rows by date and ticker, as FinRL has them: the index is the number of the day from 0, ``date`` is text such
        as ``2024-01-31``, with the time if there is one, and ``day`` the day of the week, 0 for Monday.

    Raises:
        ValueError: If columns are missing; a date cannot be read; dates go back or repeat; a ticker lacks a date or a
            name; a number is missing or infinite, or a price is not positive. The message names the first such row.
        ImportError: If it is a Parquet file and pandas has nothing to read it with.
    """
    if not isinstance(source, str | Path | pd.DataFrame):
        raise ValueError(f"prices come from a file or a data frame, got {source!r}")
    frame = source.copy() if isinstance(source, pd.DataFrame) else _read(Path(source))
    frame = frame.loc[:, [not str(name).startswith("Unnamed:") for name in frame.columns]]  # an index of to_csv()
    if missing := [name for name in NEEDED if name not in frame.columns]:
        raise ValueError(
            f"prices need the columns {', '.join(NEEDED)}; {', '.join(missing)} missing, "
            f"there are {', '.join(map(str, frame.columns)) or 'none'}: rename yours"
        )
    if frame.empty:
        raise ValueError("prices have no rows")
    frame = frame.reset_index(drop=True)
    dates = _read_dates(frame["date"])
    nameless = frame["tic"].isna() | (frame["tic"].astype(str) == "")
    _refuse(frame, nameless.to_numpy(), "tic is missing", "name the ticker")
    frame["tic"] = frame["tic"].astype(str)
    _check_dates(frame["tic"], dates)
    frame["date"], frame["day"] = _as_text(dates), dates.dt.day_of_week
    check_numbers(frame)
    order = pd.DataFrame({"date": dates, "tic": frame["tic"]}).sort_values(["date", "tic"]).index
    first = [name for name in COLUMNS if name in frame.columns]
    frame = frame.loc[order, [*first, *(name for name in frame.columns if name not in first)]]
    return number_days(frame)


def data_split(prices: pd.DataFrame, start: str, end: str) -> pd.DataFrame:
    """The days from ``start`` up to and without ``end``, numbered anew from 0.

    Args:
        prices: As :func:`load_prices` returns them.
        start: The first date, as ``2024-01-31``.
        end: The date after the last.

    Returns:
        A new frame.

    Raises:
        ValueError: If a date cannot be read, or there is no day between.
    """
    dates = pd.to_datetime(prices["date"])
    first, after = (_read_dates(pd.Series([date])).iloc[0] for date in (start, end))
    chosen = prices[(dates >= first) & (dates < after)]
    if chosen.empty:
        raise ValueError(f"no prices from {start} up to {end}: they reach from {dates.min()} to {dates.max()}")
    return number_days(chosen.sort_values(["date", "tic"]))


def _read_dates(column: pd.Series) -> pd.Series:
    """Dates as text, as dates, or as numbers such as 20240131."""
    numbers = pd.api.types.is_numeric_dtype(column)  # pandas would count nanoseconds since 1970
    try:
        return pd.to_datetime(
            column.astype("Int64").astype("string") if numbers else column, format="%Y%m%d" if numbers else None
        )
    except (ValueError, TypeError) as error:
        first = str(error).partition(". ")[0].partition("\n")[0]
        raise ValueError(f"a date cannot be read ({first}): write dates as 2024-01-31") from error


def number_days(prices: pd.DataFrame) -> pd.DataFrame:
    """A copy whose index is the number of the day, 0 for the first."""
    result = prices.copy()
    result.index = pd.Index(pd.factorize(result["date"])[0])
    return result


def check_numbers(prices: pd.DataFrame) -> None:
    """Refuse numbers that are missing or infinite, and prices that are not positive.

    Args:
        prices: With ``date`` and ``tic``.

    Raises:
        ValueError: Naming column, ticker and date.
    """
    for name in prices.columns:
        column = prices[name]
        if name in ("date", "tic"):
            continue
        if not pd.api.types.is_numeric_dtype(column):
            if name in COLUMNS:
                raise ValueError(f"column {name} must hold numbers, it holds {column.dtype}")
            continue
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        _refuse(prices, ~np.isfinite(numbers), f"{name} is missing or infinite", "fill it in or drop the day")
        if name in ("open", "high", "low", "close"):
            _refuse(prices, numbers <= 0, f"{name} is not positive", "correct it or drop the day")


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file to load prices from{', but a directory' if path.is_dir() else ''}")
    if path.suffix.lower() in (".parquet", ".pq"):
        try:
            return pd.read_parquet(path)
        except ImportError as error:
            raise ImportError("pandas reads Parquet files with pyarrow: pip install pyarrow") from error
    if path.suffix.lower() != ".csv":
        raise ValueError(f"{path.name} is neither .csv nor .parquet: read it with pandas and pass the frame")
    try:
        names = pd.read_csv(path, nrows=0).columns
    except (ValueError, pd.errors.ParserError) as error:  # empty, or no text
        raise ValueError(f"{path} cannot be read as a CSV file: {error}") from error
    missing = {name: ["", "NA", "N/A", "NaN", "nan", "null"] for name in names if name != "tic"}  # NA is a ticker
    return pd.read_csv(path, dtype={"tic": str}, na_values=missing, keep_default_na=False)


def _check_dates(tickers: pd.Series, dates: pd.Series) -> None:
    rows = pd.DataFrame({"tic": tickers, "date": dates})
    _refuse(rows, dates.isna().to_numpy(), "date is missing", "fill it in or drop the row")
    _refuse(rows, rows.duplicated().to_numpy(), "the date is there twice", "keep one row for each ticker and day")
    back = rows.groupby("tic")["date"].diff() < pd.Timedelta(0)
    _refuse(rows, back.to_numpy(), "the date is before that of the row above", "sort by date")
    table = pd.crosstab(rows["date"], rows["tic"])
    if (gaps := table == 0).to_numpy().any():
        date, ticker = next((date, ticker) for ticker in gaps for date in gaps.index[gaps[ticker]])
        raise ValueError(
            f"{ticker} has no row for {date}, others have: all need the same dates; fill the gap or drop the day"
        )


def _refuse(rows: pd.DataFrame, wrong: np.ndarray, what: str, mend: str) -> None:
    if wrong.any():
        row = rows.iloc[int(np.argmax(wrong))]
        more = f" (and {wrong.sum() - 1} rows more)" if wrong.sum() > 1 else ""
        raise ValueError(f"{row['tic']}, {row['date']}: {what}{more}: {mend}")


def _as_text(dates: pd.Series) -> Any:
    with_time = (dates != dates.dt.normalize()).any()
    return dates.dt.strftime("%Y-%m-%d %H:%M:%S" if with_time else "%Y-%m-%d")
