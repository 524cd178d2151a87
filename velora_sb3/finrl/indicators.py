"""Technical indicators, under the names that FinRL gives them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pandas as pd

INDICATORS = ("macd", "boll_ub", "boll_lb", "rsi_30", "cci_30", "dx_30", "close_30_sma", "close_60_sma")


def add_indicators(prices: pd.DataFrame, indicators: Sequence[str] = INDICATORS) -> pd.DataFrame:
    """Prices with a column more for each indicator, computed for each ticker from its past and present alone.

    ===========================  ======================================================================================
    name                         what it is
    ===========================  ======================================================================================
    ``macd``                     12-day less 26-day exponential mean of the close
    ``boll_ub``, ``boll_lb``     20-day mean of the close, plus or less two of its deviations
    ``rsi_N``                    share of gains in gains and losses, smoothed over N days; 0 to 100
    ``cci_N``                    distance of the day's middle price from its N-day mean, in mean absolute deviations
    ``dx_N``                     how one-sided the days' ranges move, smoothed over N days; 0 to 100
    ``close_N_sma``              N-day mean of the close
    ===========================  ======================================================================================

    N is any whole number. A window that reaches before the first day holds the days that there are. Where an
    indicator has no value yet it is neutral: 50 for ``rsi``, 0 for ``cci`` and ``dx``, the close for the bands.

    Args:
        prices: As :func:`load_prices` returns them.
        indicators: Names.

    Returns:
        A new frame, in the order of the one given.

    Raises:
        ValueError: If a name is unknown, or the frame lacks a column that one needs.

    References:
        G. Appel, "The Moving Average Convergence-Divergence Method", 1979; J. Bollinger, "Bollinger on Bollinger
        Bands", 2001; D. Lambert, "Commodity Channel Index", Commodities, 1980; J. W. Wilder, "New Concepts in
        Technical Trading Systems", 1978 (``rsi``, ``dx``). Smoothing is weighted as in stockstats, which FinRL uses.
    """
    functions = {name: _find(name) for name in indicators}
    needs_range = [name for name in indicators if name.startswith(("cci", "dx"))]
    if needs_range and (missing := {"high", "low"} - set(prices.columns)):
        raise ValueError(f"{needs_range[0]} needs the columns {', '.join(sorted(missing))}: load them or leave it out")
    result = prices.copy()
    place = range(len(result))  # an index of day numbers repeats
    parts = [group for _, group in result.set_axis(place, axis=0).groupby("tic", sort=False)]
    for name, function in functions.items():
        result[name] = pd.concat([function(part) for part in parts]).reindex(place).to_numpy()
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
    raise ValueError(f"unknown indicator {name!r}: choose from macd, boll_ub, boll_lb, rsi_N, cci_N, dx_N, close_N_sma")


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
    middle = (part["high"] + part["low"] + part["close"]) / 3
    window = middle.rolling(days)
    deviation = window.apply(lambda values: abs(values - values.mean()).mean(), raw=True)
    return ((middle - window.mean()) / (0.015 * deviation.where(deviation > 0))).fillna(0.0)


def _dx(part: pd.DataFrame, days: int) -> pd.Series:
    rise, fall = part["high"].diff(), -part["low"].diff()
    up = _smoothed(rise.where((rise > 0) & (rise > fall), 0.0), days)
    down = _smoothed(fall.where((fall > 0) & (fall > rise), 0.0), days)
    return (100 * (up - down).abs() / (up + down)).fillna(0.0)  # the true range is in both and cancels


def _sma(part: pd.DataFrame, days: int) -> pd.Series:
    return part["close"].rolling(days, min_periods=1).mean()
