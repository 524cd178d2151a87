import json
from dataclasses import replace

import numpy as np
import pytest
from stable_baselines3 import DDPG

from velora_sb3._optional import missing_modules
from velora_sb3._statistics import bootstrap_interval, interquartile_mean
from velora_sb3.benchmarks import speed, speed_of_cells, speed_of_training, suite
from velora_sb3.benchmarks.runs import bars, read_rows, run_missing, table
from velora_sb3.benchmarks.suite import make_env, train
from velora_sb3.benchmarks.tasks import TASKS

ROW = {
    "candidate": "RecurrentSAC, lrc",
    "task": "PendulumNoVel",
    "seed": 0,
    "returns": {"8000": -150.0, "20000": -140.0},
}


def test_the_list(run):
    code, out, _ = run("benchmark", "suite", "--list", "--tasks", "CartPoleNoVel", "--only", "RecurrentDQN, gru")
    assert code == 0
    assert out == "CartPoleNoVel: RecurrentDQN, gru\n"


def test_what_the_file_holds_is_not_run_again(run, tmp_path):
    rows = [{**ROW, "seed": seed} for seed in range(2)]
    (tmp_path / "suite.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, _ = run("benchmark", "suite", "--seeds", 2, "--tasks", "PendulumNoVel", "--only", "RecurrentSAC, lrc")
    assert code == 0
    assert (
        "| RecurrentSAC, lrc | -150 (-150 to -150), worst -150, 2 seeds | -140 (-140 to -140), worst -140, 2 seeds |"
        in out
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tasks", "CartPoleNoVell"], "unknown task 'CartPoleNoVell': did you mean 'CartPoleNoVel'"),
        (["--only", "RecurrentSAK, lrc"], "unknown candidate 'RecurrentSAK, lrc': did you mean 'RecurrentSAC, lrc'"),
        (
            ["--only", "nope"],
            "unknown candidate 'nope': choose from DDPG, MLP; DDPG, MLP, 4 frames; ",
        ),
        (
            ["--tasks", "CartPoleNoVel", "--only", "RecurrentSAC, lrc"],
            "unknown candidate of these tasks 'RecurrentSAC, lrc': ",
        ),
        (["--out", "."], "--out .: is a directory: choose another path"),
        (["--seeds", "0"], "must be at least 1"),
    ],
)
def test_mistakes(run, options, said):
    code, out, err = run("benchmark", "suite", *options)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_a_file_of_something_else(run, tmp_path):
    (tmp_path / "suite.jsonl").write_text('{"seed": 1}\n')
    code, _, err = run("benchmark", "suite")
    assert code == 2
    assert "line 1 is not a run" in err


def test_every_environment_can_be_made():
    for name, task in TASKS.items():
        if name.startswith("popgym") and missing_modules("benchmarks"):
            continue
        for candidate in task.candidates.values():
            env = make_env(task, candidate, 2, seed=0)
            assert env.num_envs == 2, name
            env.reset()
            env.close()


@pytest.mark.parametrize(
    ("task", "candidate"),
    [
        ("PendulumNoVel", "RecurrentTD3, gru"),
        ("PendulumNoVel", "SAC, MLP, 4 frames"),
        ("CartPoleNoVel, irregular", "RecurrentPPO, lrc"),
        ("CartPoleNoVel, irregular", "RecurrentPPO, lstm"),
    ],
)
def test_a_run_is_evaluated_after_each_number_of_steps(task, candidate, monkeypatch):
    short = replace(TASKS[task], steps=(300, 350))
    monkeypatch.setitem(suite.TASKS, task, short)
    monkeypatch.setattr(suite, "EVALUATION_EPISODES", 1)
    row = train((candidate, task, 1))
    assert {**row, "returns": None} == {"candidate": candidate, "task": task, "seed": 1, "returns": None}
    assert list(row["returns"]) == ["300", "350"]
    low, high = (-2000, 0) if "Pendulum" in task else (1, 500)
    assert all(low <= value <= high for value in row["returns"].values())


def test_rows_are_read_and_shown_by_steps(tmp_path):
    out = tmp_path / "rows.jsonl"
    out.write_text("".join(json.dumps({**ROW, "seed": seed}) + "\n" for seed in range(5)))
    lines = table(read_rows(out), ["RecurrentSAC, lrc", "never run"], ["PendulumNoVel"]).splitlines()
    assert lines[0] == "| | PendulumNoVel, 8,000 steps | PendulumNoVel, 20,000 steps |"
    assert lines[2:] == ["| RecurrentSAC, lrc | -150 (-150 to -150), worst -150 | -140 (-140 to -140), worst -140 |"]
    small = [{**ROW, "seed": seed, "returns": {"8000": 0.4625}} for seed in range(5)]
    assert table(small, ["RecurrentSAC, lrc"], ["PendulumNoVel"]).endswith("| 0.46 (0.46 to 0.46), worst 0.46 |")


def job(seed):
    return ROW["candidate"], ROW["task"], seed


def run_or_fail(job):
    if job[2] == 13:
        raise ValueError("unlucky")
    return {**ROW, "seed": job[2]}


def test_a_run_that_was_killed_while_writing_is_run_again(tmp_path):
    out = tmp_path / "rows.jsonl"
    out.write_text(json.dumps({**ROW, "seed": 0}) + "\n" + json.dumps({**ROW, "seed": 1})[:-9])
    assert [row["seed"] for row in read_rows(out)] == [0]
    assert [row["seed"] for row in run_missing(run_or_fail, [job(0), job(1)], out, 1)] == [0, 1]
    assert [row["seed"] for row in read_rows(out)] == [0, 1]
    out.write_text("{\n" + json.dumps(ROW) + "\n")
    with pytest.raises(ValueError, match="line 1 is not JSON"):
        read_rows(out)


def test_a_run_that_fails_does_not_end_the_others(tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    with pytest.raises(RuntimeError, match=r"1 of 3 runs failed, .*seed 13: ValueError: unlucky"):
        run_missing(run_or_fail, [job(13), job(0), job(1)], out, 1)
    assert [row["seed"] for row in read_rows(out)] == [0, 1]
    assert "seed 13: failed: ValueError: unlucky" in capsys.readouterr().out


def test_the_interquartile_mean_leaves_out_a_quarter_at_either_end():
    assert interquartile_mean([0, 1, 2, 3, 100]) == 2
    assert interquartile_mean([0, 10, 20, 30, 40, 50, 60, 1000]) == 35
    low, high = bootstrap_interval([1, 2, 3, 4, 5])
    assert 1 <= low < 3 < high <= 5


def test_the_picture_has_a_panel_for_each_task_with_runs():
    pytest.importorskip("matplotlib")
    rows = [{**ROW, "seed": seed, "returns": {"8000": -500.0, "20000": -140.0 - seed}} for seed in range(3)]
    figure = bars(rows, {"PendulumNoVel": ["RecurrentSAC, lrc", "never run"], "CartPoleNoVel": ["never run"]})
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "PendulumNoVel"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["RecurrentSAC, lrc"]
    low, high = bootstrap_interval([-140, -141, -142])
    (bar,) = axes.patches
    assert (bar.get_x(), bar.get_width()) == pytest.approx((low, high - low))
    assert list(axes.lines[0].get_xdata()) == [-141, -141]


def test_deployed_policies(run, monkeypatch):
    from velora_sb3.benchmarks import deployment
    from velora_sb3.export import parity

    few = {name: deployment.MODELS[name] for name in ("MLP, 64 and 64 units", "LTC, NCP of 19 neurons")}
    monkeypatch.setattr(deployment, "MODELS", few)
    monkeypatch.setattr(parity, "STEPS", 20)
    code, out, err = run("benchmark", "deploy", "--rounds", 1)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "| | `predict` | `StatefulPredictor` | `OnnxPolicy` | C |"
    assert [line.split(" | ")[0] for line in lines[2:]] == [f"| {name}" for name in few]
    assert "(1/" in lines[2]
    monkeypatch.setattr("velora_sb3._optional.find_spec", lambda name: None)
    code, _, err = run("benchmark", "deploy")
    assert code == 2
    assert 'velora-sb3 benchmark deploy needs onnx, onnxruntime: pip install "velora-sb3[onnx]"' in err


def test_speed(run, monkeypatch, tmp_path):
    monkeypatch.setattr(speed_of_cells, "SHAPES", [(2, 2, 3, 8)])
    monkeypatch.setattr(speed_of_training, "REACTIVE", {"DDPG": (DDPG, "Pendulum-v1", {}, 5)})
    for name, value in {"CALLS": 1, "MANY": 16, "STEPS": 8, "BATCH": 64, "EPOCHS": 1}.items():
        monkeypatch.setattr(speed_of_training, name, value)
    monkeypatch.setattr(speed_of_training, "find_spec", lambda name: None)
    out_file = tmp_path / "new" / "speed.jsonl"
    chosen = ["forward and backward", "DDPG", "StatefulPredictor, RecurrentSAC, CfC", "16 environments"]
    code, out, err = run("benchmark", "speed", "--rounds", 1, "--only", *chosen, "--out", out_file)
    assert (code, err) == (0, "")
    lines = [line for line in out.splitlines() if line.startswith("| ") and "ours | others" not in line]
    found = [json.loads(line) for line in out_file.read_text().splitlines()]
    assert [line.split(" | ")[0] for line in lines] == [f"| {row['row']}" for row in found]
    assert len(found) == len(speed_of_cells.NETWORKS) + 5
    for line, row in zip(lines, found, strict=True):
        assert min(row["values"].values()) > 0
        assert all(f"{name}: " in line for name in row["values"])
    assert {row["unit"] for row in found} == {"ms", "µs", "steps/s"}


def test_how_many_times_as_fast():
    row = speed.Row("a row", dict)
    assert speed.line(row, {"ours": 2.0, "theirs": 5.0}) == "| a row | ms | ours: 2 | theirs: 5 (2.50) |"
    row = speed.Row("a row", dict, "steps/s")
    assert (
        speed.line(row, {"ours": 2.0, "a": 5.0, "b": 1}) == "| a row | steps/s | ours: 2 | a: 5 (0.40); b: 1 (2.00) |"
    )


def test_many_cartpoles():
    env = speed_of_training._ManyCartPoles(5)
    check_observations = env.observation_space.contains
    observations = env.reset()
    ends = 0
    for _ in range(60):
        observations, rewards, dones, infos = env.step(np.ones(5, np.int64))
        assert observations.shape == (5, 4) and all(check_observations(one) for one in observations)
        assert not observations[:, [1, 3]].any() and rewards.tolist() == [1.0] * 5
        assert [bool(info) for info in infos] == dones.tolist()
        assert np.abs(observations[dones]).max(initial=0) <= 0.05
        assert all(abs(info["terminal_observation"][2]) > 0.2 for info in infos if info)
        ends += dones.sum()
    assert ends >= 25


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--only", "nope"], "no row contains 'nope': --list shows the rows"),
        (["--device", "tpu"], "--device tpu: choose cpu, cuda or cuda:1"),
        (["--device", "cuda:99"], "--device cuda:99: PyTorch finds"),
        (["--rounds", "0"], "must be at least 1"),
        (["--out", "."], "--out .: is a directory: choose another path"),
    ],
)
def test_mistakes_in_speed(run, options, said):
    code, out, err = run("benchmark", "speed", *options)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
