"""Synthetic prices, to try a pipeline without a download."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from velora_sb3._validation import check_integer
from velora_sb3.finrl.prices.dates import read_date
from velora_sb3.finrl.prices.load_prices import load_prices

CALM, STORMY = 0.007, 0.022  # daily volatility of the market in its two regimes
PERSISTENCE = 0.98  # probability that the regime stays the same until tomorrow
WEEKEND = 0.4  # volatility of a day without trading, relative to a trading day
DRIFT = 0.0002  # mean daily log return of the market
IDIOSYNCRATIC = 0.01  # daily volatility of each ticker's own returns


def synthetic_prices(
    tickers: Sequence[str] | int = 3, days: int = 500, seed: int = 0, start: str = "2020-01-01"
) -> pd.DataFrame:
    r"""Daily prices of several correlated stocks, reproducible from a seed.

    Log returns follow a one-factor model, :math:`r_i = \beta_i m + e_i`: all stocks share the market return :math:`m`,
    with :math:`\beta_i` from 0.6 to 1.4. The market switches between a calm and a volatile regime, each lasting 50 days
    on average. Markets are closed on Saturday and Sunday; Monday's open reflects the weekend.

    These prices are random numbers: profits here say nothing about profits in a real market.

    Args:
        tickers: Ticker names, or their number.
        days: Number of trading days, at least 2.
        seed: Random seed; the global generators are not used.
        start: The first day; a weekend moves on to Monday.

    Returns:
        Prices as :func:`load_prices` returns them, with the columns ``date``, ``tic``, ``open``, ``high``, ``low``,
        ``close``, ``volume`` and ``day``.

    Raises:
        ValueError: If there is no ticker, a name is repeated, ``days`` is less than 2, or ``start`` is unreadable.
    """
    names = (
        [f"STOCK{number}" for number in range(1, int(tickers) + 1)]
        if isinstance(tickers, int | np.integer)
        else list(tickers)
    )
    if isinstance(tickers, str) or not names or len(set(names)) < len(names):
        raise ValueError(f"tickers must be one or more distinct names, or their number, got {tickers!r}")
    days = check_integer("days", days, least=2)
    generator = np.random.default_rng(seed)
    open_days = pd.bdate_range(read_date(start), periods=days, normalize=True)
    calendar = pd.date_range(open_days[0], open_days[-1])
    trading = (calendar.day_of_week < 5).astype(float)
    activity = np.where(trading > 0, 1.0, WEEKEND)

    stormy = _regimes(len(calendar), generator)
    market = DRIFT + np.where(stormy, STORMY, CALM) * activity * generator.normal(size=len(calendar))
    betas = generator.uniform(0.6, 1.4, len(names))
    own = IDIOSYNCRATIC * activity[:, None] * generator.normal(size=(len(calendar), len(names)))
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
    """``(days,)``, true on days of the volatile regime."""
    changes = generator.random(days) > PERSISTENCE
    begin = generator.random() < 0.5
    return np.asarray((np.cumsum(changes) + begin) % 2 == 1)
