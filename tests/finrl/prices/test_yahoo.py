"""What ``yfinance.download`` returns and writes, made by hand: no download."""

import numpy as np
import pandas as pd
import pytest

from velora_sb3.finrl import load_prices

DAYS = pd.bdate_range("2024-03-07", periods=3, name="Date")
MINUTES = pd.date_range("2024-03-08 14:30", periods=3, freq="min", tz="UTC", name="Datetime")
NEW_YORK = pd.date_range("2024-03-09", periods=3, tz="America/New_York", name="Date")  # the clock goes forward
FIELDS = ["Adj Close", "Close", "High", "Low", "Open", "Volume"]


def downloaded(tickers, dates=DAYS, group_by="column", names=("Price", "Ticker")):
    columns = pd.MultiIndex.from_product([FIELDS, tickers], names=names)
    values = np.arange(1.0, 1 + len(dates) * len(columns)).reshape(len(dates), -1)
    frame = pd.DataFrame(values, dates, columns)
    return frame if group_by == "column" else frame.swaplevel(axis=1).sort_index(axis=1)


def written(frame, path):
    frame.to_csv(path)
    return path


@pytest.mark.parametrize("tickers", [["AAPL"], ["AAPL", "NA"]])
@pytest.mark.parametrize("group_by", ["column", "ticker"])
@pytest.mark.parametrize("names", [("Price", "Ticker"), (None, None)], ids=["names", "older"])
@pytest.mark.parametrize(
    ("dates", "second"),
    [(DAYS, "2024-03-08"), (MINUTES, "2024-03-08 14:31:00+00:00"), (NEW_YORK, "2024-03-10")],
    ids=["days", "minutes", "zone"],
)
def test_a_download_loads_unchanged(tmp_path, tickers, group_by, names, dates, second):
    frame = downloaded(tickers, dates, group_by, names)
    for source in (frame, written(frame, tmp_path / "prices.csv")):
        prices = load_prices(source)
        assert prices["tic"].tolist() == tickers * 3
        assert prices["date"].unique()[1] == second
        for field in FIELDS:
            expected = frame.xs(field, axis=1, level=0 if group_by == "column" else 1)[tickers]
            np.testing.assert_array_equal(prices[field.lower().replace(" ", "_")], expected.to_numpy().ravel())


def test_one_level(tmp_path):
    """``multi_level_index=False``, or ``Ticker.history()``."""
    frame = downloaded(["AAPL"]).droplevel("Ticker", axis=1)
    for source in (frame, written(frame, tmp_path / "prices.csv")):
        prices = load_prices(source, ticker="AAPL")
        assert prices["close"].tolist() == frame["Close"].tolist()
        assert prices["tic"].tolist() == ["AAPL"] * 3
        with pytest.raises(ValueError, match="tic missing.*for the prices of one stock.*ticker="):
            load_prices(source)
    with pytest.raises(ValueError, match="prices already have a column tic"):
        load_prices(prices, ticker="AAPL")


def test_stacked():
    frame = downloaded(["AAPL", "MSFT"])
    expected = load_prices(frame)
    stacked = frame.stack(level="Ticker", future_stack=True)
    for rows in (stacked, stacked.reset_index(level="Ticker"), stacked.reset_index()):
        pd.testing.assert_frame_equal(load_prices(rows)[expected.columns], expected)


def test_tickers_that_trade_on_other_days(tmp_path):
    frame = downloaded(["AAPL", "BTC-USD"])
    frame.loc[DAYS[1], pd.IndexSlice[:, "AAPL"]] = np.nan
    for source in (frame, written(frame, tmp_path / "prices.csv")):
        with pytest.raises(ValueError, match="AAPL has no row for 2024-03-08"):
            load_prices(source)


def test_a_ticker_that_was_not_downloaded(tmp_path):
    frame = downloaded(["AAPL", "GONE"])
    frame.loc[:, pd.IndexSlice[:, "GONE"]] = np.nan
    for source in (frame, written(frame, tmp_path / "prices.csv")):
        with pytest.raises(ValueError, match="GONE has no prices: download it again"):
            load_prices(source)


def test_other_columns_of_two_levels():
    other = pd.DataFrame(1.0, DAYS, pd.MultiIndex.from_product([["a"], ["b"]]))
    with pytest.raises(ValueError, match="two levels of columns must be those of yfinance.download"):
        load_prices(other)
    frame = downloaded(["AAPL"])
    with pytest.raises(ValueError, match="several columns .'Close', 'AAPL'."):
        load_prices(pd.concat([frame, frame[["Close"]]], axis=1))
