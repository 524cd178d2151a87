import math

import numpy as np
import pandas as pd
import pytest

from velora_sb3.finrl.performance import (
    annual_return,
    annual_volatility,
    max_drawdown,
    performance,
    sharpe_ratio,
    simple_returns,
    sortino_ratio,
    turnover,
)

VALUES = [100, 110, 99, 108.9]  # +10 %, -10 %, +10 %


def test_returns():
    np.testing.assert_allclose(simple_returns(VALUES), [0.1, -0.1, 0.1])


def test_sharpe_ratio():
    # mean 1/30; sample deviation sqrt((2 (1/15)^2 + (2/15)^2) / 2) = sqrt(1/75)
    assert sharpe_ratio(VALUES, periods_per_year=1) == pytest.approx((1 / 30) / math.sqrt(1 / 75))
    assert sharpe_ratio(VALUES) == pytest.approx(math.sqrt(252) * math.sqrt(75) / 30)
    assert sharpe_ratio(VALUES, 1, risk_free=1 / 30) == pytest.approx(0, abs=1e-12)


def test_sortino_ratio():
    # one loss of 0.1 in three days: sqrt(0.01 / 3)
    assert sortino_ratio(VALUES, 1) == pytest.approx((1 / 30) / math.sqrt(0.01 / 3))
    assert sortino_ratio(VALUES, 1, minimum_return=0.1) == pytest.approx((1 / 30 - 0.1) / math.sqrt(0.04 / 3))


@pytest.mark.parametrize(
    ("values", "fall"), [(VALUES, -0.1), ([1, 2, 3], 0), ([100, 50, 75, 30, 90], -0.7), ([100, 80, 200, 150], -0.25)]
)
def test_max_drawdown(values, fall):
    assert max_drawdown(values) == pytest.approx(fall)


def test_annual_return():
    assert annual_return([100, 120, 121], periods_per_year=2) == pytest.approx(0.21)
    assert annual_return([100, 110], periods_per_year=2) == pytest.approx(0.21)
    assert annual_return([100, 10, 0]) == -1
    assert annual_return([1, 1e300]) == math.inf


def test_annual_volatility():
    assert annual_volatility(VALUES, periods_per_year=4) == pytest.approx(2 * math.sqrt(1 / 75))


def test_turnover():
    assert turnover([10, -33], [100, 110, 99]) == pytest.approx((0.1 + 0.3) / 2)
    assert turnover([], [100]) == 0
    with pytest.raises(ValueError, match="as many account values"):
        turnover([1, 2], [100])


def test_undefined_figures_are_nan():
    assert math.isnan(sharpe_ratio([100, 100, 100]))
    assert math.isnan(sharpe_ratio([100, 101]))
    assert math.isnan(sharpe_ratio(100 * 1.01 ** np.arange(9)))  # one return, up to rounding
    assert math.isnan(sortino_ratio([100, 101, 103]))
    assert math.isnan(annual_volatility([100, 101]))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([100], "at least two"),
        ([100, math.nan], "finite, got nan"),
        ([0, 100], "positive"),
        ([[1, 2], [3, 4]], "one-dimensional"),
    ],
)
def test_invalid_account_values(values, message):
    with pytest.raises(ValueError, match=message):
        performance(values)


def test_all_together():
    figures = performance(VALUES, [50, 0, 0], periods_per_year=1)
    assert figures == {
        "sharpe_ratio": sharpe_ratio(VALUES, 1),
        "sortino_ratio": sortino_ratio(VALUES, 1),
        "max_drawdown": max_drawdown(VALUES),
        "annual_return": annual_return(VALUES, 1),
        "annual_volatility": annual_volatility(VALUES, 1),
        "final_account_value": 108.9,
        "turnover": pytest.approx(0.5 / 3),
    }
    assert "turnover" not in performance(VALUES)


def account(dates):
    """As ``DRL_prediction`` returns it."""
    return pd.DataFrame({"date": dates.strftime("%Y-%m-%d %H:%M:%S"), "account_value": VALUES})


FIGURES = [sharpe_ratio, sortino_ratio, max_drawdown, annual_return, annual_volatility, performance]


@pytest.mark.parametrize("figure", FIGURES)
def test_an_account_with_its_dates(figure):
    days = account(pd.bdate_range("2024-03-07", periods=4))
    assert figure(days) == figure(days.set_index("date")) == figure(VALUES)
    if figure is max_drawdown:
        return
    minutes = account(pd.date_range("2024-03-07 09:30", periods=4, freq="min"))
    for given in (minutes, minutes.set_index("date"), minutes.set_index("date")["account_value"]):
        assert figure(given) == figure(VALUES, periods_per_year=4 * 252)  # four minutes a day
        assert figure(given, periods_per_year=12) == figure(VALUES, periods_per_year=12)
    weeks = account(pd.date_range("2024-03-08", periods=4, freq="7D"))
    assert figure(weeks) == figure(weeks.rename(columns={"date": "Date"}))
    dates = pd.DatetimeIndex(weeks["date"])
    for index in (dates, dates.date, dates.strftime("%Y-%m-%d"), dates.to_period("D")):
        assert figure(weeks) == figure(pd.Series(VALUES, index)) == figure(VALUES, periods_per_year=52)


@pytest.mark.parametrize("figure", [simple_returns, *FIGURES])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pd.DataFrame({"AAA": [1, 2], "BBB": [3, 4]}), "account_values must be one series of money.*columns AAA, BBB"),
        (pd.DataFrame([[1, 2], [3, 4]], columns=["account_value"] * 2), "must be one series of money"),
        (pd.Series(["2024-03-07", "2024-03-08"]), "account_values must be numbers"),
        ({"account_value": VALUES}, "account_values must be numbers"),
        (None, "one-dimensional"),
    ],
)
def test_what_is_no_account(figure, given, message):
    with pytest.raises(ValueError, match=message):
        figure(given)


@pytest.mark.parametrize("figure", [simple_returns, *FIGURES])
def test_an_account_whose_dates_go_backwards_is_refused(figure):
    days = account(pd.bdate_range("2024-03-07", periods=4))
    for wrong in (days[::-1], pd.concat([days, days]), days[::-1].set_index("date")["account_value"]):
        with pytest.raises(ValueError, match="dates go backwards, from 2024-03-12 .* to 2024-03-.*: sort by date"):
            figure(wrong)
    with pytest.raises(ValueError, match="a date is missing"):
        figure(days.assign(date=[*days["date"][:3], None]))


@pytest.mark.parametrize(
    ("traded", "values"),
    [([math.nan], [100, 1]), ([math.inf], [100, 1]), ([1, 2], [100, 0]), ([1, 2], [-100, 1]), ([1], [math.nan])],
)
def test_turnover_needs_finite_and_positive_numbers(traded, values):
    with pytest.raises(ValueError, match="finite traded_values and positive, finite account_values"):
        turnover(traded, values)


@pytest.mark.parametrize("rate", [math.nan, math.inf, "0", None])
def test_rates_are_finite_numbers(rate):
    with pytest.raises(ValueError, match="risk_free must be a finite number, got"):
        sharpe_ratio(VALUES, risk_free=rate)
    with pytest.raises(ValueError, match="minimum_return must be a finite number, got"):
        sortino_ratio(VALUES, minimum_return=rate)


def test_turnover_of_an_account():
    days = account(pd.bdate_range("2024-03-07", periods=4))
    assert turnover([10, -33], days) == turnover([10, -33], VALUES)
    with pytest.raises(ValueError, match="traded_values must be one series of money.*columns AAA, BBB"):
        performance(days, pd.DataFrame({"AAA": [1, 2], "BBB": [3, 4]}))
    for periods in (0, -1, math.nan):
        with pytest.raises(ValueError, match="periods_per_year must be a finite number above 0"):
            performance(days, periods_per_year=periods)
