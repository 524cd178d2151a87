"""What a series of account values says about trading: return, risk, and return for risk."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

PERIODS_PER_YEAR = 252  # trading days
ROUNDING = 1e-12  # a smaller deviation of returns is none


def simple_returns(account_values: ArrayLike) -> np.ndarray:
    r"""The return of each period, :math:`r_t = V_t / V_{t-1} - 1`.

    Args:
        account_values: ``(T,)``, oldest first, in money.

    Returns:
        ``(T - 1,)``, as fractions: 0.01 is one percent.

    Raises:
        ValueError: If they are not at least two finite numbers in one row, or one but the last is not positive.
    """
    values = np.asarray(account_values, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(
            f"account values must be at least two finite numbers in one row, got shape {values.shape}"
            + (" with NaN or infinity" if values.size and not np.isfinite(values).all() else "")
        )
    if not (values[:-1] > 0).all():
        raise ValueError(f"no return can be told from an account value of {values[:-1].min():g}: it must be positive")
    return values[1:] / values[:-1] - 1


def sharpe_ratio(account_values: ArrayLike, periods_per_year: int = PERIODS_PER_YEAR, risk_free: float = 0.0) -> float:
    r"""Mean excess return over its deviation, annualized: :math:`\sqrt{P} \, \bar{d} / s_d`, :math:`d_t = r_t - f`.

    Args:
        account_values: ``(T,)``, oldest first, in money.
        periods_per_year: :math:`P`; 252 for trading days.
        risk_free: :math:`f`, the return of one period without risk.

    Returns:
        The ratio; NaN if the returns do not differ, or there are fewer than two.

    References:
        W. F. Sharpe, "The Sharpe Ratio", Journal of Portfolio Management, 1994: the ex post ratio, whose deviation
        :math:`s_d` is the sample's (divided by :math:`n - 1`).
    """
    excess = simple_returns(account_values) - risk_free
    deviation = float(np.std(excess, ddof=1)) if len(excess) > 1 else 0.0
    return _ratio(float(np.mean(excess)), deviation, periods_per_year)


def sortino_ratio(
    account_values: ArrayLike, periods_per_year: int = PERIODS_PER_YEAR, minimum_return: float = 0.0
) -> float:
    r"""Mean excess return over the deviation of losses alone, annualized.

    .. math::
        \sqrt{P} \, \frac{\bar{r} - m}{\sqrt{\frac{1}{n} \sum_t \min(r_t - m, 0)^2}}

    Args:
        account_values: ``(T,)``, oldest first, in money.
        periods_per_year: :math:`P`; 252 for trading days.
        minimum_return: :math:`m`, the return of one period below which it counts as a loss.

    Returns:
        The ratio; NaN if there was no loss.

    References:
        F. A. Sortino and L. N. Price, "Performance Measurement in a Downside Risk Framework", Journal of Investing,
        1994. The mean square is over all periods, also those without a loss.
    """
    excess = simple_returns(account_values) - minimum_return
    downside = float(np.sqrt(np.mean(np.minimum(excess, 0.0) ** 2)))
    return _ratio(float(np.mean(excess)), downside, periods_per_year)


def max_drawdown(account_values: ArrayLike) -> float:
    r"""The deepest fall below an earlier high, :math:`\min_t (V_t / \max_{s \le t} V_s - 1)`.

    Args:
        account_values: ``(T,)``, oldest first, in money.

    Returns:
        A fraction from -1 to 0: -0.2 is a fall by 20 percent, 0 none.

    References:
        M. Magdon-Ismail and A. F. Atiya, "Maximum Drawdown", Risk, 2004; here relative to the high, and negative.
    """
    simple_returns(account_values)  # its checks
    values = np.asarray(account_values, dtype=np.float64)
    return float(np.min(values / np.maximum.accumulate(values) - 1))


def annual_return(account_values: ArrayLike, periods_per_year: int = PERIODS_PER_YEAR) -> float:
    r"""The return of a year that compounds to the whole return, :math:`(V_T / V_0)^{P / n} - 1` over n periods.

    Args:
        account_values: ``(T,)``, oldest first, in money.
        periods_per_year: :math:`P`; 252 for trading days.

    Returns:
        A fraction; -1 if everything is lost.
    """
    n = len(simple_returns(account_values))
    values = np.asarray(account_values, dtype=np.float64)
    whole = max(float(values[-1] / values[0]), 0.0)
    try:
        return math.pow(whole, periods_per_year / n) - 1
    except OverflowError:  # doubled within a day
        return math.inf


def annual_volatility(account_values: ArrayLike, periods_per_year: int = PERIODS_PER_YEAR) -> float:
    r"""The deviation of returns, annualized: :math:`\sqrt{P} \, s_r`, with the sample's deviation.

    Args:
        account_values: ``(T,)``, oldest first, in money.
        periods_per_year: :math:`P`; 252 for trading days.

    Returns:
        A fraction; NaN if there are fewer than two returns.
    """
    returns = simple_returns(account_values)
    return math.sqrt(periods_per_year) * float(np.std(returns, ddof=1)) if len(returns) > 1 else math.nan


def turnover(traded_values: ArrayLike, account_values: ArrayLike) -> float:
    r"""The share of the account that is traded in a period, on average: :math:`\frac{1}{n} \sum_t |x_t| / V_t`.

    Args:
        traded_values: ``(n,)``, the money that buying and selling moved in each period, both counted.
        account_values: ``(n,)`` or longer, the account before each of those trades.

    Returns:
        A fraction; 0 if nothing was traded.

    Raises:
        ValueError: If there are more periods than account values.

    References:
        V. DeMiguel, L. Garlappi and R. Uppal, "Optimal Versus Naive Diversification", Review of Financial Studies,
        2009, section 3, where it is the sum of absolute trades in weights, averaged over trading dates.
    """
    traded, values = np.asarray(traded_values, dtype=np.float64), np.asarray(account_values, dtype=np.float64)
    if traded.ndim != 1 or len(traded) > len(values):
        raise ValueError(f"{traded.shape} traded values need as many account values, got {values.shape}")
    return float(np.mean(np.abs(traded) / values[: len(traded)])) if len(traded) else 0.0


def performance(
    account_values: ArrayLike, traded_values: ArrayLike | None = None, periods_per_year: int = PERIODS_PER_YEAR
) -> dict[str, float]:
    """All figures of this module.

    Args:
        account_values: ``(T,)``, oldest first, in money.
        traded_values: ``(n,)``, the money that trades moved in each period; None leaves the turnover out.
        periods_per_year: 252 for trading days.

    Returns:
        ``sharpe_ratio``, ``sortino_ratio``, ``max_drawdown``, ``annual_return``, ``annual_volatility``,
        ``final_account_value`` and ``turnover``. A ratio that is not defined is NaN.

    Raises:
        ValueError: If the values cannot be judged.
    """
    values: Any = np.asarray(account_values, dtype=np.float64)
    figures = {
        "sharpe_ratio": sharpe_ratio(values, periods_per_year),
        "sortino_ratio": sortino_ratio(values, periods_per_year),
        "max_drawdown": max_drawdown(values),
        "annual_return": annual_return(values, periods_per_year),
        "annual_volatility": annual_volatility(values, periods_per_year),
        "final_account_value": float(values[-1]),
    }
    if traded_values is not None:
        figures["turnover"] = turnover(traded_values, values)
    return figures


def _ratio(mean: float, deviation: float, periods_per_year: int) -> float:
    return math.sqrt(periods_per_year) * mean / deviation if deviation > ROUNDING else math.nan
