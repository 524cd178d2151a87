import numpy as np
import pandas as pd
import pytest
from gymnasium.utils.env_checker import check_env

from tests.finrl.markets import INDICATORS, frame, market, plain
from velora_sb3.finrl import StockTradingEnv, add_indicators, make_trading_env, synthetic_prices


def act(*shares, hmax=100):
    return np.array(shares, dtype=np.float32) / hmax + np.sign(shares) * 1e-4


def play(env, *actions):
    env.reset()
    return [env.step(act(*action)) for action in actions]


unbounded = pytest.mark.filterwarnings("ignore:.*infinity. This is probably too")


@unbounded
def test_it_is_an_environment():
    check_env(market(), skip_render_check=True)


def test_what_is_observed():
    env = market(3)
    observation, info = env.reset()
    day = env.df.loc[0]
    expected = [1e6, *day["close"], 0, 0, *day["macd"], *day["rsi_5"]]
    np.testing.assert_allclose(observation, expected, rtol=1e-6)
    np.testing.assert_allclose(env.state, expected)
    assert env.render() == env.state
    assert info == {"date": env.df["date"].iloc[0], "account_value": 1e6}


def test_buying_and_selling():
    env = plain([[10, 20], [11, 20], [11, 22], [1, 1]], reward_scaling=0.5)
    (first, *gained), second, third = play(env, (5, 10), (-2, 0), (-99, 99))
    np.testing.assert_allclose(first, [1000 - 50 - 200, 11, 20, 5, 10])
    assert gained[:3] == [0.5 * 5, False, False]
    np.testing.assert_allclose(second[0], [750 + 22, 11, 22, 3, 10])
    assert second[1] == 0.5 * 20
    bought = (772 + 33) // 22  # no more than there is money for, what was sold first included
    np.testing.assert_allclose(third[0], [805 - 22 * bought, 1, 1, 0, 10 + bought])
    np.testing.assert_array_equal(env.actions_memory, [[5, 10], [-2, 0], [-3, bought]])
    np.testing.assert_allclose(env.asset_memory, [1000, 1005, 1025, 805 - 22 * bought + 10 + bought])
    assert env.trades == 5


def test_larger_purchases_come_first():
    env = plain([[10, 10], [10, 10]])
    play(env, (60, 90))
    np.testing.assert_array_equal(env.actions_memory, [[10, 90]])


def test_costs():
    env = plain([[10, 10], [10, 10], [10, 10]], buy_cost_pct=[0.01, 0], sell_cost_pct=[0.02, 0])
    _, (observation, *_) = play(env, (10, 0), (-10, 0))
    assert observation[0] == pytest.approx(1000 - 101 + 98)
    assert env.cost == pytest.approx(1 + 2)


def test_the_step_after_the_last_day_ends_the_episode():
    env = plain([[10, 10], [11, 10]])
    first, last = play(env, (10, 0), (-10, 0))
    assert (first[1:4], last[1:4]) == ((1e-3, False, False), (1e-3, True, False))
    np.testing.assert_array_equal(first[0], last[0])
    assert env.asset_memory == [1000, 1010]


def test_records():
    env = plain([[10, 10], [11, 10], [11, 10]])
    play(env, (10, 0), (0, 3))
    dates = ["2024-03-07", "2024-03-08", "2024-03-11"]
    account = pd.DataFrame({"date": dates, "account_value": [1000.0, 1010, 1010]})
    pd.testing.assert_frame_equal(env.save_asset_memory(), account)
    actions = pd.DataFrame({"A": [10, 0], "B": [0, 3]}, index=pd.Index(dates[:2], name="date"))
    pd.testing.assert_frame_equal(env.save_action_memory(), actions, check_dtype=False)
    assert env.rewards_memory == [10, 0]
    env.reset()
    assert (env.asset_memory, env.date_memory, env.actions_memory, env.episode) == ([1000], dates[:1], [], 2)


def test_one_stock():
    env = plain([[10], [11], [12]], ["A"], num_stock_shares=[4])
    assert env.reset()[0].tolist() == [1000, 10, 4]
    env.step(act(6))
    assert env.asset_memory == [1040, 1050]
    actions = env.save_action_memory()
    assert list(actions.columns) == ["date", "actions"]
    assert actions["actions"].iloc[0].tolist() == [6]


def test_a_stock_marked_by_its_first_indicator_cannot_be_traded():
    prices = frame([[10, 10]] * 3, closed=[1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    env = make_trading_env(prices, indicators=["closed"], num_stock_shares=[5, 5])
    play(env, (5, 5), (-5, 0))
    np.testing.assert_array_equal(env.actions_memory, [[0, 5], [-5, 0]])


def test_turbulence():
    prices = frame([[10, 10]] * 4, turbulence=[9.0, 9, 0, 0, 9, 9, 0, 0])
    env = make_trading_env(prices, cost_pct=0, turbulence_threshold=5)
    play(env, (5, 500), (0, 2), (1, 1))
    np.testing.assert_array_equal(env.actions_memory, [[5, 500], [0, 2], [-5, -502]])


def test_going_on_from_another_state():
    first = plain([[10, 10], [11, 10]])
    play(first, (10, 0))
    env = plain([[12, 10], [13, 10]], initial=False, previous_state=first.state)
    assert env.reset()[0].tolist() == [900, 12, 10, 10, 0]
    assert env.asset_memory == [1020]


def test_get_sb_env():
    env = market(4)
    vec_env, observation = env.get_sb_env()
    assert vec_env.envs == [env]
    assert observation.shape == (1, env.state_space)


def test_files_and_lines(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    env = plain([[10, 10], [11, 10]], model_name="ppo", mode="trade", iteration=3, make_plots=True, print_verbosity=1)
    play(env, (10, 0), (0, 0))
    assert capsys.readouterr().out == "episode 1: 1000.00 -> 1010.00 in 1 days, 1 trades, cost 0.00\n"
    names = {f"{kind}_trade_ppo_3.csv" for kind in ("actions", "account_value", "account_rewards")}
    assert {path.name for path in (tmp_path / "results").iterdir()} == {*names, "account_value_trade_1.png"}
    account = pd.read_csv(tmp_path / "results" / "account_value_trade_ppo_3.csv")
    assert account["daily_return"].iloc[1] == pytest.approx(0.01)
    rewards = pd.read_csv(tmp_path / "results" / "account_rewards_trade_ppo_3.csv")
    assert rewards["account_rewards"].tolist() == [10]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stock_dim": 3}, "stock_dim is 3, but df has 2 tickers"),
        ({"state_space": 7}, "state_space must be 5 .cash, 2 prices, 2 holdings and 0 indicators per stock., got 7"),
        ({"action_space": 1}, "number of stocks, 2, got 1"),
        ({"buy_cost_pct": [0.1]}, "buy_cost_pct must hold one number per stock, 2 in all, got 1"),
        ({"sell_cost_pct": 0.1}, "sell_cost_pct must hold one number per stock, 2 in all, got 1"),
        ({"num_stock_shares": 0}, "num_stock_shares must hold one number per stock, 2 in all, got 1"),
        ({"tech_indicator_list": ["macd"], "state_space": 7}, "df has no column macd; it has date"),
        ({"turbulence_threshold": 5}, "df has no column turbulence"),
        ({"initial": False}, "pass it as previous_state"),
        ({"day": 2}, "day must be an integer from 0 to 1, got 2"),
        ({"print_verbosity": -1}, "print_verbosity must be an integer of at least 0, got -1"),
        ({"hmax": 0}, "hmax must be a finite number above 0, got 0"),
        ({"initial_amount": -1}, "initial_amount must be a finite number at least 0, got -1"),
        ({"reward_scaling": np.nan}, "reward_scaling must be a finite number, got nan"),
    ],
)
def test_what_does_not_fit(settings, message):
    with pytest.raises(ValueError, match=message):
        plain([[1, 2], [3, 4]], **settings)


def test_frames_that_do_not_fit():
    def build(prices):
        return StockTradingEnv(prices, 2, 1, 1, [0, 0], [0, 0], [0, 0], 1, 5, 2, [])

    build(frame([[1, 2], [3, 4]]))
    for prices, message in (
        (frame([[1, 2], [3, 4], [5, 6]]).loc[1:], "day number"),
        (frame([[1, 2], [3, 4]]).iloc[[0, 1, 3, 2]], "same tickers in the same order"),
        (frame([[1, 2]]), "at least two days"),
        (frame([[1, 2], [3, 4]]).astype({"close": object}), "close must be numeric, got object: convert it with"),
        (frame([[1, 2], [3, np.nan]]), "close is missing"),
    ):
        with pytest.raises(ValueError, match=message):
            build(prices)


def test_make_trading_env_takes_a_part_of_the_prices():
    prices = synthetic_prices(2, 20)
    env = make_trading_env(prices.loc[5:9])
    assert env.df.index[-1] == 4
    assert env.tech_indicator_list == []
    assert prices.index[-1] == 19


def test_prices_that_go_backwards_in_time_are_refused():
    prices = frame([[1, 2], [3, 4], [5, 6]])
    with pytest.raises(ValueError, match="dates go backwards, from 2024-03-11 .* to 2024-03-08.*: sort by date"):
        make_trading_env(prices.iloc[::-1])


def test_one_indicator_by_its_name():
    prices = add_indicators(synthetic_prices(2, 20), "macd")
    env = make_trading_env(prices)
    alone = StockTradingEnv(prices, 2, 1, 1, [0, 0], [0, 0], [0, 0], 1, 7, 2, "macd")
    assert env.tech_indicator_list == alone.tech_indicator_list == ["macd"]


def test_indicators_that_prices_have_are_observed():
    assert market().tech_indicator_list == INDICATORS


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([np.nan, 0.5], "the action is .nan 0.5., not finite: the policy has diverged"),
        ([np.inf, 0.5], "not finite"),
        ([0.5], "one number for each of 2 stocks, got shape .1,."),
        ([[0.5, 0.5]], "got shape .1, 2."),
    ],
)
def test_actions_that_are_refused(action, message):
    env = plain([[10, 10], [11, 10]], num_stock_shares=[10, 10])
    env.reset()
    with pytest.raises(ValueError, match=message):
        env.step(np.array(action, dtype=np.float32))
    assert (env.day, env.actions_memory, env.shares.tolist()) == (0, [], [10, 10])


def test_an_action_beyond_all_shares_is_recorded_as_executed():
    env = plain([[10, 10], [11, 10]], num_stock_shares=[10, 10])
    env.reset()
    env.step(np.array([-1e30, 1e30], dtype=np.float32))
    np.testing.assert_array_equal(env.actions_memory, [[-10, 110]])
    np.testing.assert_array_equal(env.shares, [0, 120])


@pytest.mark.parametrize("missing", [np.nan, None, np.inf])
@pytest.mark.parametrize("column", ["turbulence", "rsi"])
def test_a_column_that_decides_or_is_observed_must_be_known_every_day(column, missing):
    prices = frame([[10, 10]] * 3, rsi=50.0, turbulence=1.0)
    values = prices[column].tolist()
    values[3] = missing
    prices[column] = pd.Series(values, index=prices.index, dtype=object if missing is None else float)
    with pytest.raises(ValueError, match=f"{column} (is missing or infinite|must be numeric)"):
        make_trading_env(prices, indicators=["rsi"], turbulence_threshold=5)
    other = {"indicators": []} if column == "rsi" else {"indicators": ["rsi"], "turbulence_threshold": None}
    make_trading_env(prices, **other)  # what is not used is not checked


def test_a_threshold_that_is_not_a_number():
    prices = frame([[10, 10]] * 3, turbulence=1.0)
    with pytest.raises(ValueError, match="turbulence_threshold must be a finite number, got nan"):
        make_trading_env(prices, turbulence_threshold=np.nan)
    for name in ("num_stock_shares", "buy_cost_pct"):
        with pytest.raises(ValueError, match=f"each of {name} must be a finite number at least 0.*, got nan"):
            make_trading_env(prices, **{name: [0, np.nan]})


def test_two_columns_of_one_name():
    prices = frame([[1, 2], [3, 4]])
    twice = pd.concat([prices, prices[["close"]]], axis=1)
    for build in (make_trading_env, lambda df: StockTradingEnv(df, 2, 1, 1, [0, 0], [0, 0], [0, 0], 1, 5, 2, [])):
        with pytest.raises(ValueError, match="several columns 'close'"):
            build(twice)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"cost_pct": 2},
            "each of buy_cost_pct must be a finite number at least 0 and below 1",
        ),
        ({"cost_pct": -0.1}, "buy_cost_pct.* got -0.1"),
        ({"sell_cost_pct": [0, 1.0]}, "sell_cost_pct.* got 1.0"),
        ({"num_stock_shares": [0, -5]}, "each of num_stock_shares must be a finite number at least 0, got -5"),
        ({"state_space": 5.0}, "state_space must be an integer"),
        ({"initial": "no"}, "initial must be True or False, got 'no'"),
        ({"make_plots": "no"}, "make_plots must be True or False"),
        ({"timespans": "no"}, "timespans must be True or False"),
        ({"indicators": "macd"}, "df has no column macd;"),
    ],
)
def test_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        plain([[10, 20], [11, 21]], **settings)
