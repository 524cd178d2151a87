import numpy as np
import pandas as pd
import pytest

from velora_sb3.finrl import load_prices, synthetic_prices


def log_returns(prices):
    return np.log(prices.pivot(index="date", columns="tic", values="close")).diff().dropna()


def test_the_form_is_finrls():
    prices = synthetic_prices(["AAA", "BBB"], 10, start="2024-01-01")
    assert list(prices.columns) == ["date", "tic", "open", "high", "low", "close", "volume", "day"]
    assert prices.index.tolist() == np.repeat(range(10), 2).tolist()
    assert prices["tic"].tolist() == ["AAA", "BBB"] * 10
    assert prices["date"].iloc[0] == "2024-01-01"
    pd.testing.assert_frame_equal(load_prices(prices), prices)


def test_the_same_for_the_same_seed_and_no_other():
    np.random.seed(0)
    first, expected = synthetic_prices(2, 50, seed=1), np.random.RandomState(0).rand()
    assert np.random.rand() == expected  # the global generator was not used
    pd.testing.assert_frame_equal(first, synthetic_prices(2, 50, seed=1))
    assert not np.allclose(first["close"], synthetic_prices(2, 50, seed=2)["close"])


def test_numpy_integers():
    pd.testing.assert_frame_equal(synthetic_prices(np.int64(2), np.int64(5)), synthetic_prices(2, 5))


def test_markets_close_at_weekends():
    dates = pd.to_datetime(synthetic_prices(1, 30)["date"])
    assert set(dates.diff().dropna().dt.days) == {1, 3}
    assert set(dates.dt.day_of_week) == {0, 1, 2, 3, 4}


def test_a_day_holds_together():
    prices = synthetic_prices(3, 200)
    body = prices[["open", "close"]]
    assert (prices["high"] >= body.max(axis=1)).all()
    assert (prices["low"] <= body.min(axis=1)).all()
    assert (prices["low"] > 0).all()
    assert (prices["volume"] > 0).all()


def test_returns_are_correlated_and_volatility_comes_in_spells():
    returns = log_returns(synthetic_prices(4, 4000, seed=3))
    correlation = returns.corr().to_numpy()[np.triu_indices(4, 1)]
    assert correlation.min() > 0.2
    assert correlation.max() < 0.95
    size = returns.mean(axis=1).abs()
    assert size.autocorr(1) > 0.1
    assert size.autocorr(10) > 0.05


def test_weekends_move_prices_more_than_nights():
    prices = synthetic_prices(4, 4000, seed=3)
    gaps = np.log(prices["open"] / prices.groupby("tic")["close"].shift()).groupby(prices["day"]).std()
    assert gaps[0] > 1.5 * gaps[[1, 2, 3, 4]].max()


def test_errors():
    for tickers in (0, [], ["A", "A"], "AAA"):
        with pytest.raises(ValueError, match="tickers must be"):
            synthetic_prices(tickers)
    with pytest.raises(ValueError, match="at least 2"):
        synthetic_prices(days=1)


@pytest.mark.parametrize("start", [20240104, "2024-01-04", pd.Timestamp("2024-01-04 10:00")])
def test_the_first_day(start):
    assert synthetic_prices(1, 3, start=start)["date"].tolist() == ["2024-01-04", "2024-01-05", "2024-01-08"]


@pytest.mark.parametrize("start", ["04/01/2024", "soon", None, pd.NaT])
def test_a_first_day_that_is_none(start):
    with pytest.raises(ValueError, match="ambiguous date|unreadable date"):
        synthetic_prices(1, 3, start=start)
