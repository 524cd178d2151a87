"""Performance figures of a series of account values: return, risk and risk-adjusted return.

Account values are a sequence of numbers, or an account with dates: a data frame with the columns ``date`` and
``account_value``, as :meth:`DRLAgent.DRL_prediction` returns it, or a series with dates as its index. From its dates
follows the number of periods in a year: 252 for trading days, 98,280 for 390 minutes a day.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from velora_sb3._validation import check_number
from velora_sb3.finrl.prices.dates import TRADING_DAYS, Dates, check_order, dates_per_year, read_dates

DATES = ("datetime64", "datetime", "date", "period", "string")  # what pandas calls an index that holds dates
ROUNDING = 1e-12  # a smaller deviation of returns is rounding error


def simple_returns(account_values: ArrayLike) -> np.ndarray:
    r"""The return of each period, :math:`r_t = V_t / V_{t-1} - 1`.

    Args:
        account_values: ``(T,)``, oldest first, in money, or an account with dates.

    Returns:
        ``(T - 1,)``, as fractions: 0.01 is one percent.

    Raises:
        ValueError: If ``account_values`` is not one-dimensional, has fewer than two values, or holds a value that is
            not finite, or not positive before the last; or if its dates are unreadable, or go backwards.
    """
    values = _check_values(account_values)
    returns: np.ndarray = values[1:] / values[:-1] - 1
    return returns


def sharpe_ratio(account_values: ArrayLike, periods_per_year: float | None = None, risk_free: float = 0.0) -> float:
    r"""Mean excess return over its standard deviation, annualized.

    .. math::
        \sqrt{P} \, \bar{d} / s_d, \quad d_t = r_t - f

    Args:
        account_values: ``(T,)``, oldest first, in money, or an account with dates.
        periods_per_year: :math:`P`, periods in a year; None to tell from the dates, or 252 without dates.
        risk_free: :math:`f`, the risk-free return of one period.

    Returns:
        The ratio; NaN if all returns are equal, or there are fewer than two.

    References:
        W. F. Sharpe, "The Sharpe Ratio", Journal of Portfolio Management, 1994: the ex post ratio, with the sample
        standard deviation :math:`s_d` (divided by :math:`n - 1`).
    """
    excess = simple_returns(account_values) - check_number("risk_free", risk_free)
    deviation = float(np.std(excess, ddof=1)) if len(excess) > 1 else 0.0
    return _ratio(float(np.mean(excess)), deviation, _periods(periods_per_year, account_values))


def sortino_ratio(
    account_values: ArrayLike, periods_per_year: float | None = None, minimum_return: float = 0.0
) -> float:
    r"""Mean excess return over the downside deviation, annualized.

    .. math::
        \sqrt{P} \, \frac{\bar{r} - m}{\sqrt{\frac{1}{n} \sum_t \min(r_t - m, 0)^2}}

    Args:
        account_values: ``(T,)``, oldest first, in money, or an account with dates.
        periods_per_year: :math:`P`, periods in a year; None to tell from the dates, or 252 without dates.
        minimum_return: :math:`m`, the minimum acceptable return of one period; lower returns are losses.

    Returns:
        The ratio; NaN if there is no loss.

    References:
        F. A. Sortino and L. N. Price, "Performance Measurement in a Downside Risk Framework", Journal of Investing,
        1994. The mean square runs over all periods, with and without a loss.
    """
    excess = simple_returns(account_values) - check_number("minimum_return", minimum_return)
    downside = float(np.sqrt(np.mean(np.minimum(excess, 0.0) ** 2)))
    return _ratio(float(np.mean(excess)), downside, _periods(periods_per_year, account_values))


def max_drawdown(account_values: ArrayLike) -> float:
    r"""The largest decline from an earlier peak, :math:`\min_t (V_t / \max_{s \le t} V_s - 1)`.

    Args:
        account_values: ``(T,)``, oldest first, in money, or an account with dates.

    Returns:
        A fraction from -1 to 0: -0.2 is a decline of 20 percent, 0 no decline.

    References:
        M. Magdon-Ismail and A. F. Atiya, "Maximum Drawdown", Risk, 2004; here relative to the peak, and negative.
    """
    values = _check_values(account_values)
    return float(np.min(values / np.maximum.accumulate(values) - 1))


def annual_return(account_values: ArrayLike, periods_per_year: float | None = None) -> float:
    r"""The compound annual return, :math:`(V_T / V_0)^{P / n} - 1` over n periods.

    Args:
        account_values: ``(T,)``, oldest first, in money, or an account with dates.
        periods_per_year: :math:`P`, periods in a year; None to tell from the dates, or 252 without dates.

    Returns:
        A fraction; -1 if the account is lost.
    """
    values = _check_values(account_values)
    total = max(float(values[-1] / values[0]), 0.0)
    try:
        return math.pow(total, _periods(periods_per_year, account_values) / (len(values) - 1)) - 1
    except OverflowError:  # a large gain over few periods
        return math.inf


def annual_volatility(account_values: ArrayLike, periods_per_year: float | None = None) -> float:
    r"""The sample standard deviation of returns, annualized: :math:`\sqrt{P} \, s_r`.

    Args:
        account_values: ``(T,)``, oldest first, in money, or an account with dates.
        periods_per_year: :math:`P`, periods in a year; None to tell from the dates, or 252 without dates.

    Returns:
        A fraction; NaN if there are fewer than two returns.
    """
    returns, periods = simple_returns(account_values), _periods(periods_per_year, account_values)
    return math.sqrt(periods) * float(np.std(returns, ddof=1)) if len(returns) > 1 else math.nan


def turnover(traded_values: ArrayLike, account_values: ArrayLike) -> float:
    r"""The mean fraction of the account traded per period: :math:`\frac{1}{n} \sum_t |x_t| / V_t`.

    Args:
        traded_values: ``(n,)``, the value of all purchases and sales in each period, in money.
        account_values: ``(n,)`` or longer, the account value before these trades.

    Returns:
        A fraction; 0 without trades.

    Raises:
        ValueError: If there are fewer account values than traded values, a value is not finite, or an account value
            is not positive.

    References:
        V. DeMiguel, L. Garlappi and R. Uppal, "Optimal Versus Naive Diversification", Review of Financial Studies,
        2009, section 3, where it is the sum of absolute trades in weights, averaged over trading dates.
    """
    traded, values = _numbers("traded_values", traded_values), _numbers("account_values", account_values)
    if traded.ndim != 1 or values.ndim != 1 or len(traded) > len(values):
        raise ValueError(f"traded_values of shape {traded.shape} need as many account values, got shape {values.shape}")
    values = values[: len(traded)]
    if not (np.isfinite(traded).all() and np.isfinite(values).all() and (values > 0).all()):
        raise ValueError("turnover needs finite traded_values and positive, finite account_values")
    return float(np.mean(np.abs(traded) / values)) if len(traded) else 0.0


def performance(
    account_values: ArrayLike, traded_values: ArrayLike | None = None, periods_per_year: float | None = None
) -> dict[str, float]:
    """All performance figures of an account.

    Args:
        account_values: ``(T,)``, oldest first, in money, or an account with dates.
        traded_values: ``(n,)``, the value traded in each period, in money; None to omit the turnover.
        periods_per_year: Periods in a year; None to tell from the dates, or 252 without dates.

    Returns:
        ``sharpe_ratio``, ``sortino_ratio``, ``max_drawdown``, ``annual_return``, ``annual_volatility``,
        ``final_account_value`` and ``turnover``. An undefined ratio is NaN.

    Raises:
        ValueError: If the account values are invalid, as in :func:`simple_returns`.
    """
    values, periods = _check_values(account_values), _periods(periods_per_year, account_values)
    figures = {
        "sharpe_ratio": sharpe_ratio(values, periods),
        "sortino_ratio": sortino_ratio(values, periods),
        "max_drawdown": max_drawdown(values),
        "annual_return": annual_return(values, periods),
        "annual_volatility": annual_volatility(values, periods),
        "final_account_value": float(values[-1]),
    }
    if traded_values is not None:
        figures["turnover"] = turnover(traded_values, values)
    return figures


def _check_values(account_values: ArrayLike) -> np.ndarray:
    if (dates := _dates(account_values)) is not None:
        check_order(dates)
    values = _numbers("account_values", account_values)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"account values must be one-dimensional, at least two of them, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"account values must be finite, got {values[~np.isfinite(values)][0]}")
    if not (values[:-1] > 0).all():
        raise ValueError(f"returns need positive account values, got {values[:-1].min():g}")
    return values


def _numbers(name: str, given: ArrayLike) -> np.ndarray:
    """The numbers given, or the column ``account_value`` of a data frame."""
    if isinstance(given, pd.DataFrame):
        if name != "account_values" or list(given.columns).count("account_value") != 1:
            raise ValueError(
                f"{name} must be one series of money, such as account['account_value'], got a data frame with the "
                f"columns {', '.join(map(str, given.columns))}"
            )
        given = given["account_value"]
    try:
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers: {error}") from error


def _periods(periods_per_year: float | None, account_values: ArrayLike) -> float:
    """Periods in a year, as given or by the dates of the account."""
    if periods_per_year is not None:
        return check_number("periods_per_year", periods_per_year, above=0)
    return TRADING_DAYS if (dates := _dates(account_values)) is None else dates_per_year(dates)


def _dates(account_values: ArrayLike) -> Dates | None:
    """The dates of an account that has some."""
    for name in ("date", "Date", "Datetime"):  # FinRL's, then yfinance's
        if isinstance(account_values, pd.DataFrame) and name in account_values.columns:
            return read_dates(account_values[name].reset_index(drop=True))
    index = getattr(account_values, "index", None)
    if isinstance(index, pd.Index) and (index.name == "date" or pd.api.types.infer_dtype(index) in DATES):
        return read_dates(pd.Series(index))
    return None


def _ratio(mean: float, deviation: float, periods_per_year: float) -> float:
    return math.sqrt(periods_per_year) * mean / deviation if deviation > ROUNDING else math.nan
