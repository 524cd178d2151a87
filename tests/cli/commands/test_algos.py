from velora_sb3.cli.algorithms import algorithms
from velora_sb3.policies import ALIAS


def test_the_tables_are_the_registry_and_fit_80_columns(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run("algos")
    assert code == 0
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    second = lines.index("LiquidPolicy is recurrent:")
    assert lines[0] == "LiquidPolicy is reactive or windowed:"
    tables = [line.split() for line in lines[2 : second - 1]], [line.split() for line in lines[second + 2 :]]
    recurrent = {name for name in algorithms() if name.startswith("recurrent_")}
    rows = {False: tables[0], True: tables[1][: len(recurrent)]}
    assert {row[0] for row in rows[True]} == recurrent
    assert {row[0] for row in rows[False]} == set(algorithms()) - recurrent
    for name, policy, *_ in rows[True] + rows[False]:
        assert policy == algorithms()[name].policy_aliases[ALIAS].__name__
    assert ["ddpg", "LiquidTD3Policy", "B"] in rows[False]
    assert ["recurrent_ppo", "LiquidRecurrentActorCriticPolicy", "B", "D", "MD", "MB"] in rows[True]
    assert ["recurrent_sac", "LiquidSACPolicy", "B"] in rows[True]
