from velora_sb3.cli.algorithms import algorithms
from velora_sb3.policies import ALIAS


def test_the_table_is_the_registry_and_fits_80_columns(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run("algos")
    assert code == 0
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    known = algorithms().values()
    rows = [line.split() for line in lines[1 : len(known) + 1]]
    assert [row[1] for row in rows] == [algorithm.policy_aliases[ALIAS].__name__ for algorithm in known]
    assert ["ddpg", "LiquidTD3Policy", "B", "reactive,", "windowed"] in rows
    assert ["recurrent_ppo", "LiquidRecurrentActorCriticPolicy", "B", "D", "MD", "MB", "recurrent"] in rows
    assert ["recurrent_sac", "LiquidSACPolicy", "B", "recurrent"] in rows
    assert sum("recurrent" in row for row in rows) == sum(row[0].startswith("recurrent_") for row in rows) == 7
