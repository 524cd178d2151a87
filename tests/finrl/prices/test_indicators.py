import numpy as np
import pandas as pd
import pytest

from tests.finrl.markets import frame
from velora_sb3.finrl import INDICATORS, add_indicators, load_prices, synthetic_prices


def one(closes, **columns):
    return frame([[close] for close in closes], ["A"], **columns)


def column(prices, name):
    return add_indicators(prices, [name])[name].to_numpy()


def test_means_of_the_days_there_are():
    np.testing.assert_allclose(column(one([1, 3, 5, 9]), "close_3_sma"), [1, 2, 3, 17 / 3])


def test_bands():
    prices = one([10, 12, 14])
    deviation = [0, np.sqrt(2), 2]
    np.testing.assert_allclose(column(prices, "boll_ub"), np.array([10, 11, 12]) + 2 * np.array(deviation))
    np.testing.assert_allclose(column(prices, "boll_lb"), np.array([10, 11, 12]) - 2 * np.array(deviation))


def test_rsi():
    # Weights 1, 1/2, 1/4, ... going back: gains (0, 2, 0) and losses (0, 0, 1).
    np.testing.assert_allclose(column(one([10, 12, 11]), "rsi_2"), [50, 100, 50])
    np.testing.assert_allclose(column(one([10, 10]), "rsi_2"), [50, 50])


def test_macd():
    def mean(values, days):
        weights = (1 - 2 / (days + 1)) ** np.arange(len(values))[::-1]
        return weights @ values / weights.sum()

    closes = [10, 11, 13]
    assert column(one(closes), "macd")[-1] == pytest.approx(mean(closes, 12) - mean(closes, 26))


def test_cci():
    prices = one([1, 2, 6], high=[1.0, 2, 6], low=[1.0, 2, 6])
    np.testing.assert_allclose(column(prices, "cci_3"), [0, 0, (6 - 3) / (0.015 * 2)])
    flat = one([5, 5, 5], high=[5.0] * 3, low=[5.0] * 3)
    np.testing.assert_array_equal(column(flat, "cci_3"), 0)


def test_dx():
    # Highs rise by 2, then lows fall by 1. Weights 1 and 1/2: up 1, down 1.
    prices = one([5, 6, 5], high=[6.0, 8, 7], low=[4.0, 5, 4])
    np.testing.assert_allclose(column(prices, "dx_2"), [0, 100, 0])


def test_each_ticker_has_its_own_past():
    prices = synthetic_prices(3, 70)
    together = add_indicators(prices)
    for ticker, part in together.groupby("tic"):
        alone = add_indicators(prices[prices["tic"] == ticker])
        pd.testing.assert_frame_equal(part, alone)
    pd.testing.assert_frame_equal(together[prices.columns], prices)


def test_no_indicator_sees_the_future():
    prices = synthetic_prices(2, 70)
    pd.testing.assert_frame_equal(add_indicators(prices).loc[:49], add_indicators(prices.loc[:49]))


def test_all_are_numbers_from_the_first_day_on():
    load_prices(add_indicators(synthetic_prices(2, 5)))
    assert set(INDICATORS) <= set(add_indicators(synthetic_prices(2, 5)).columns)


def test_errors():
    with pytest.raises(ValueError, match="unknown indicator 'rsi_0': expected one of macd"):
        add_indicators(one([1, 2]), ["rsi_0"])
    with pytest.raises(ValueError, match="dx_5 needs the columns high, low"):
        add_indicators(one([1, 2]), ["dx_5"])
