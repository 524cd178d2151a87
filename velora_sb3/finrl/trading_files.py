"""Files of a trading episode in the directory ``results``, named as FinRL names them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

FOLDER = Path("results")


def write_episode(name: str, account: pd.DataFrame, actions: pd.DataFrame, rewards: Sequence[float]) -> None:
    """Write ``actions_<name>.csv``, ``account_value_<name>.csv`` and ``account_rewards_<name>.csv``."""
    FOLDER.mkdir(exist_ok=True)
    actions.to_csv(FOLDER / f"actions_{name}.csv")
    account = account.assign(daily_return=account["account_value"].pct_change())
    account.to_csv(FOLDER / f"account_value_{name}.csv", index=False)
    table = pd.DataFrame({"account_rewards": rewards, "date": account["date"].iloc[:-1].to_list()})
    table.to_csv(FOLDER / f"account_rewards_{name}.csv", index=False)


def draw_account(values: Sequence[float], file_name: str) -> None:
    """Plot the account value over the days."""
    from matplotlib.figure import Figure

    FOLDER.mkdir(exist_ok=True)
    figure = Figure()
    axes = figure.add_subplot()
    axes.plot(values)
    axes.set(xlabel="day", ylabel="account value")
    figure.savefig(FOLDER / file_name)
