"""Prices made up, to try a pipeline without a download."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from velora_sb3.finrl.load_prices import load_prices

CALM, STORMY = 0.007, 0.022  # the market's daily deviation in its two regimes
STAY = 0.98  # chance that tomorrow's regime is today's
WEEKEND = 0.4  # a day without trade moves prices by this share of a day with it
DRIFT = 0.0002  # mean daily log return of the market
OWN = 0.01  # deviation of what moves one ticker alone


def synthetic_prices(
    tickers: Sequence[str] | int = 3, days: int = 500, seed: int = 0, start: str = "2020-01-01"
) -> pd.DataFrame:
    r"""Daily prices of several stocks over trading days, the same for the same seed.

    Log returns have one factor, :math:`r_i = \beta_i m + e_i`: all stocks share the market's :math:`m`, with
    :math:`\beta_i` from 0.6 to 1.4. The market changes between calm and stormy days, which stay as they are for 50
    days on average. Markets close on Saturday and Sunday, and what happens then is in Monday's open.

    These are numbers, not a market: nothing that is earned here says what a strategy earns elsewhere.

    Args:
        tickers: Names, or how many.
        days: Number of trading days.
        seed: Of the random numbers; the global generators are not used.
        start: The first day; a weekend's is put off to Monday.

    Returns:
        As :func:`load_prices`: ``date``, ``tic``, ``open``, ``high``, ``low``, ``close``, ``volume``, ``day``.

    Raises:
        ValueError: If there is no ticker, two have the same name, or there are fewer than two days.
    """
    names = [f"STOCK{number}" for number in range(1, tickers + 1)] if isinstance(tickers, int) else list(tickers)
    if isinstance(tickers, str) or not names or len(set(names)) < len(names):
        raise ValueError(f"tickers must be different names, at least one, or how many, got {tickers!r}")
    if days < 2:
        raise ValueError(f"days must be at least 2, got {days}")
    generator = np.random.default_rng(seed)
    open_days = pd.bdate_range(start, periods=days)
    calendar = pd.date_range(open_days[0], open_days[-1])
    trading = (calendar.day_of_week < 5).astype(float)
    activity = np.where(trading > 0, 1.0, WEEKEND)

    stormy = _regimes(len(calendar), generator)
    market = DRIFT + np.where(stormy, STORMY, CALM) * activity * generator.normal(size=len(calendar))
    betas = generator.uniform(0.6, 1.4, len(names))
    own = OWN * activity[:, None] * generator.normal(size=(len(calendar), len(names)))
    path = np.cumsum(np.outer(market, betas) + own, axis=0)  # (calendar days, tickers)
    close = generator.uniform(20, 200, len(names)) * np.exp(path)
    closed_overnight = np.vstack([close[:1], close[:-1]])[trading > 0]
    close = close[trading > 0]

    size = close.shape
    opening = closed_overnight * np.exp(0.003 * generator.normal(size=size))
    wick = 1 + 0.006 * np.abs(generator.normal(size=(2, *size)))
    high, low = np.maximum(opening, close) * wick[0], np.minimum(opening, close) / wick[1]
    volume = np.exp(generator.normal(13.5, 0.3, size) + 20 * np.abs(close / closed_overnight - 1)).astype(np.int64)
    columns = {"open": opening, "high": high, "low": low, "close": close}
    return load_prices(
        pd.DataFrame(
            {
                "date": np.repeat(open_days, len(names)),
                "tic": np.tile(np.array(names, dtype=object), days),
                **{name: values.ravel() for name, values in columns.items()},
                "volume": volume.ravel(),
            }
        )
    )


def _regimes(days: int, generator: np.random.Generator) -> np.ndarray:
    """``(days,)``, true on stormy days."""
    changes = generator.random(days) > STAY
    begin = generator.random() < 0.5
    return np.asarray((np.cumsum(changes) + begin) % 2 == 1)
