from velora_sb3.policies import POLICIES


def test_the_table_is_the_registry_and_fits_80_columns(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run("algos")
    assert code == 0
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines[1 : len(POLICIES) + 1]]
    assert [row[1] for row in rows] == [policy.__name__ for policy in POLICIES.values()]
    assert ["ddpg", "LiquidTD3Policy", "B", "reactive,", "windowed"] in rows
    assert ["recurrent_ppo", "LiquidRecurrentActorCriticPolicy", "B", "D", "MD", "MB", "recurrent"] in rows
    assert sum("recurrent" in row for row in rows) == sum(row[0].startswith("recurrent_") for row in rows)
