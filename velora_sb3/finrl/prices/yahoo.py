"""Prices as yfinance returns and writes them, in the layout of :func:`load_prices`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

# Only these names are changed: other columns keep theirs.
NAMES = {
    "Date": "date",
    "Datetime": "date",
    "Ticker": "tic",
    "Open": "open",
    "High": "high",
    "Low": "low",
    "Close": "close",
    "Adj Close": "adj_close",
    "Volume": "volume",
    "Dividends": "dividends",
    "Stock Splits": "stock_splits",
    "Capital Gains": "capital_gains",
}
TEXT = ("date", "tic", "Date", "Datetime", "Ticker")  # columns that are not numbers


def has_two_header_rows(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first rows of a file are the two levels of ``yfinance.download(...).to_csv()``."""
    if len(rows) < 2 or not rows[0]:
        return False
    return _names_index(rows) or {rows[0][0], rows[1][0]} == {"Price", "Ticker"}


def read_two_header_rows(path: Path, rows: Sequence[Sequence[str]], missing: Sequence[str]) -> pd.DataFrame:
    """The file as the data frame that was written."""
    header = 2 + _names_index(rows)
    frame = pd.read_csv(path, header=None, skiprows=header, index_col=0, dtype={0: str}, na_values=list(missing))
    columns = [list(each[1:]) for each in rows[:2]]
    if frame.shape[1] != len(columns[0]):
        raise ValueError(f"{path} has {frame.shape[1]} columns of numbers under {len(columns[0])} names")
    return frame.set_axis(pd.MultiIndex.from_arrays(columns), axis=1).rename_axis(index="Date")


def _names_index(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the third row is the name of the index, and nothing else."""
    return len(rows) > 2 and bool(rows[2]) and rows[2][0] in ("Date", "Datetime") and not any(rows[2][1:])


def from_yahoo(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per ticker and date, with the column names of :func:`load_prices`; other frames are unchanged."""
    if frame.columns.nlevels > 1:
        frame = _one_row_per_ticker(frame)
    index = [frame.index.get_level_values(level) for level in range(frame.index.nlevels)]
    for level in reversed(index):  # so that the first level becomes the first column
        name = "Date" if level.name is None and isinstance(level, pd.DatetimeIndex) else level.name
        if NAMES.get(name, name) in ("date", "tic") and not {name, NAMES.get(name, name)} & set(frame.columns):
            frame = frame.reset_index(drop=True)
            frame.insert(0, name, level)
    return frame.rename(columns=NAMES).rename_axis(columns=None)


def _one_row_per_ticker(frame: pd.DataFrame) -> pd.DataFrame:
    """Two levels of columns, prices and tickers in either order, as rows."""
    prices = next((level for level in (0, 1) if "Close" in frame.columns.get_level_values(level)), None)
    if prices is None or frame.columns.nlevels != 2:
        raise ValueError(
            "prices with two levels of columns must be those of yfinance.download, with Close in one level and the "
            f"ticker in the other, got {', '.join(map(str, frame.columns[:5]))}"
        )
    if frame.columns.has_duplicates:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"prices have several columns {twice}: keep one of them")
    parts: list[pd.DataFrame] = []
    for ticker in frame.columns.get_level_values(1 - prices).unique():
        part = pd.DataFrame(frame.xs(ticker, axis=1, level=1 - prices))
        if part["Close"].isna().all():
            raise ValueError(f"{ticker} has no prices: download it again, or leave it out")
        part = part.dropna(how="all")  # other tickers have other dates
        parts.append(part.assign(Ticker=str(ticker)))
    return pd.concat(parts)
