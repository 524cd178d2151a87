"""Technical indicators, by FinRL's names."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pandas as pd

from velora_sb3.finrl.prices.load_prices import check_columns

INDICATORS = ("macd", "boll_ub", "boll_lb", "rsi_30", "cci_30", "dx_30", "close_30_sma", "close_60_sma")


def add_indicators(prices: pd.DataFrame, indicators: Sequence[str] | str = INDICATORS) -> pd.DataFrame:
    """Add a column for each indicator, computed per ticker without look-ahead.

    ===========================  ======================================================================================
    name                         indicator
    ===========================  ======================================================================================
    ``macd``                     moving average convergence divergence: 12-day minus 26-day EMA of the close
    ``boll_ub``, ``boll_lb``     Bollinger bands: 20-day mean of the close, plus or minus two standard deviations
    ``rsi_N``                    N-day relative strength index, 0 to 100
    ``cci_N``                    N-day commodity channel index of the typical price
    ``dx_N``                     N-day directional movement index, 0 to 100
    ``close_N_sma``              N-day simple moving average of the close
    ===========================  ======================================================================================

    N is any positive integer. A day is one row of a ticker, be it a minute. On the first days a window covers only the
    days so far. Where an indicator is not yet defined its value is neutral: 50 for ``rsi``, 0 for ``cci`` and ``dx``,
    the close for the bands.

    Args:
        prices: Prices as :func:`load_prices` returns them.
        indicators: Names from the table, or one of them.

    Returns:
        A new frame with the same rows in the same order.

    Raises:
        ValueError: If a name is unknown, or ``prices`` lacks a column that an indicator needs.

    References:
        G. Appel, "The Moving Average Convergence-Divergence Method", 1979; J. Bollinger, "Bollinger on Bollinger
        Bands", 2001; D. Lambert, "Commodity Channel Index", Commodities, 1980; J. W. Wilder, "New Concepts in
        Technical Trading Systems", 1978 (``rsi``, ``dx``). The values are those of stockstats, which FinRL uses.
    """
    check_columns(prices)
    indicators = [indicators] if isinstance(indicators, str) else indicators
    functions = {name: _find(name) for name in indicators}
    needs_range = [name for name in indicators if name.startswith(("cci", "dx"))]
    if needs_range and (missing := {"high", "low"} - set(prices.columns)):
        raise ValueError(f"{needs_range[0]} needs the columns {', '.join(sorted(missing))}: add them, or omit it")
    result = prices.copy()
    rows = range(len(result))  # the index of day numbers is not unique
    parts = [group for _, group in result.set_axis(rows, axis=0).groupby("tic", sort=False)]
    for name, function in functions.items():
        result[name] = pd.concat([function(part) for part in parts]).reindex(rows).to_numpy()
    return result


def _find(name: str) -> Callable[[pd.DataFrame], pd.Series]:
    if name == "macd":
        return _macd
    if name in ("boll_ub", "boll_lb"):
        sign = 1 if name == "boll_ub" else -1
        return lambda part: _bollinger(part, sign)
    for pattern, function in (
        (r"rsi_([1-9]\d*)", _rsi),
        (r"cci_([1-9]\d*)", _cci),
        (r"dx_([1-9]\d*)", _dx),
        (r"close_([1-9]\d*)_sma", _sma),
    ):
        if match := re.fullmatch(pattern, name):
            days = int(match[1])
            return lambda part, function=function, days=days: function(part, days)  # type: ignore[misc]
    raise ValueError(
        f"unknown indicator {name!r}: expected one of macd, boll_ub, boll_lb, rsi_N, cci_N, dx_N, close_N_sma"
    )


def _macd(part: pd.DataFrame) -> pd.Series:
    fast, slow = (part["close"].ewm(span=days).mean() for days in (12, 26))
    return fast - slow


def _bollinger(part: pd.DataFrame, sign: int) -> pd.Series:
    window = part["close"].rolling(20, min_periods=1)
    return window.mean() + sign * 2 * window.std().fillna(0.0)


def _smoothed(series: pd.Series, days: int) -> pd.Series:
    return series.ewm(alpha=1 / days).mean()


def _rsi(part: pd.DataFrame, days: int) -> pd.Series:
    change = part["close"].diff().fillna(0.0)
    gains, losses = _smoothed(change.clip(lower=0), days), _smoothed(-change.clip(upper=0), days)
    return (100 * gains / (gains + losses)).fillna(50.0)


def _cci(part: pd.DataFrame, days: int) -> pd.Series:
    typical = (part["high"] + part["low"] + part["close"]) / 3
    window = typical.rolling(days)
    deviation = window.apply(lambda values: abs(values - values.mean()).mean(), raw=True)
    return ((typical - window.mean()) / (0.015 * deviation.where(deviation > 0))).fillna(0.0)


def _dx(part: pd.DataFrame, days: int) -> pd.Series:
    rise, fall = part["high"].diff(), -part["low"].diff()
    up = _smoothed(rise.where((rise > 0) & (rise > fall), 0.0), days)
    down = _smoothed(fall.where((fall > 0) & (fall > rise), 0.0), days)
    return (100 * (up - down).abs() / (up + down)).fillna(0.0)  # the average true range cancels


def _sma(part: pd.DataFrame, days: int) -> pd.Series:
    return part["close"].rolling(days, min_periods=1).mean()
