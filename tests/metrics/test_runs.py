"""Which run an episode belongs to, and how the run ended."""

import sqlite3

import pytest
from stable_baselines3 import PPO

from tests.metrics.short_episodes import Do, ppo, recorded
from tests.metrics.test_several_processes import python
from velora_sb3.callbacks import RecordMetrics
from velora_sb3.metrics import load_metrics, load_runs


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.db"


def stop():
    return False


def fail():
    raise RuntimeError("the env broke")


def test_names_count_up_for_each_algorithm_and_env(path):
    names = [recorded(64, path)[1].run_name for _ in range(2)]

    class Other(PPO):
        pass

    names.append(recorded(64, path, model=ppo(kind=Other))[1].run_name)
    names.append(recorded(64, path)[1].run_name)
    assert names == ["PPO_ShortEpisodes_1", "PPO_ShortEpisodes_2", "Other_ShortEpisodes_1", "PPO_ShortEpisodes_3"]
    assert load_runs(path)["run"].tolist() == names


def test_names_that_only_look_alike(path):
    for run in ("PPO_ShortEpisodes_7", "PPO_ShortEpisodes_x", "PPO_ShortEpisodes", "PPOxShortEpisodes_9"):
        recorded(64, path, run=run)
    assert recorded(64, path)[1].run_name == "PPO_ShortEpisodes_8"


def test_a_name_is_not_used_twice(path):
    recorded(64, path, run="mine")
    before = load_metrics(path)
    with pytest.raises(ValueError, match="run 'mine' already exists"):
        recorded(64, path, run="mine")
    assert load_metrics(path).equals(before)


def test_one_callback_for_two_trainings_is_two_runs(path):
    model, callback = ppo(), RecordMetrics(path)
    model.learn(64, callback=callback)
    model.learn(64, callback=callback)
    assert load_runs(path)["run"].tolist() == ["PPO_ShortEpisodes_1", "PPO_ShortEpisodes_2"]
    assert load_metrics(path).groupby("run")["episode"].min().tolist() == [1, 1]


def test_going_on_is_the_same_run(path, tmp_path):
    model, callback = ppo(), RecordMetrics(path, window=5)
    model.learn(128, callback=callback)
    first = load_metrics(path)
    model.learn(128, callback=callback, reset_num_timesteps=False)
    rows = load_metrics(path)
    assert load_runs(path)["total_timesteps"].tolist() == [256]
    assert rows["episode"].tolist() == list(range(1, len(rows) + 1))
    assert (
        rows.head(len(first))
        .drop(columns=["ended", "total_timesteps"])
        .equals(first.drop(columns=["ended", "total_timesteps"]))
    )
    _, uninterrupted = recorded(256, tmp_path / "other.db", window=5)
    columns = ["episode", "return", "length", "timesteps", "moving_average", "moving_deviation", "train/loss"]
    assert rows[columns].equals(load_metrics(tmp_path / "other.db")[columns])
    assert rows["seconds"].is_monotonic_increasing
    assert uninterrupted.run_name == callback.run_name


def test_going_on_from_a_checkpoint_forgets_what_came_after_it(path, tmp_path):
    model, callback = ppo(), RecordMetrics(path)
    model.learn(128, callback=callback)
    before = load_metrics(path)
    state = callback.state_dict()
    model.save(tmp_path / "checkpoint")
    model.learn(128, callback=callback, reset_num_timesteps=False)  # this part is lost
    recorded(64, path)  # another run, which is left alone
    other = load_metrics(path, 2)

    resumed = RecordMetrics(path)
    resumed.load_state_dict(state)
    PPO.load(tmp_path / "checkpoint", env=ppo().get_env()).learn(64, callback=resumed, reset_num_timesteps=False)
    rows = load_metrics(path, 1)
    assert resumed.run_name == callback.run_name
    assert rows["return"].head(len(before)).tolist() == before["return"].tolist()
    assert rows["episode"].tolist() == list(range(1, len(rows) + 1))
    assert 128 < rows["timesteps"].iloc[-1] <= 192
    assert rows["timesteps"].is_monotonic_increasing
    assert load_metrics(path, 2).equals(other)


def test_a_state_is_on_disk_before_it_is_handed_out(path):
    seen = []
    callback = RecordMetrics(path)

    def save():
        seen.append((callback.state_dict()["episodes"]["finished"], len(load_metrics(path))))

    ppo().learn(64, callback=[callback, Do(40, save)])
    assert seen[0][0] == seen[0][1] > 5


def test_a_loaded_model_goes_on_by_name(path, tmp_path):
    model, _ = recorded(64, path, run="mine")
    model.save(tmp_path / "model")
    n_before = len(load_metrics(path))
    again = PPO.load(tmp_path / "model", env=ppo().get_env())
    recorded(64, path, model=again, run="mine", reset_num_timesteps=False)
    rows = load_metrics(path, "mine")
    assert len(load_runs(path)) == 1
    assert len(rows) > n_before
    assert rows["episode"].tolist() == list(range(1, len(rows) + 1))


def test_a_run_of_another_task_is_not_gone_on_with(path):
    recorded(64, path, run="mine")

    class Other(PPO):
        pass

    model = ppo(kind=Other).learn(64)
    with pytest.raises(ValueError, match="run 'mine' is PPO on ShortEpisodes, not Other on ShortEpisodes"):
        recorded(64, path, model=model, run="mine", reset_num_timesteps=False)


def test_a_state_and_another_file(path, tmp_path):
    model, callback = recorded(64, path)
    recorded(64, tmp_path / "other.db")  # the same name and number there
    there = RecordMetrics(tmp_path / "other.db")
    there.load_state_dict(callback.state_dict())
    model.learn(64, callback=there, reset_num_timesteps=False)
    assert there.run_name == "PPO_ShortEpisodes_2"
    assert load_metrics(tmp_path / "other.db", 2)["timesteps"].min() > 64


def test_a_state_and_a_training_from_the_start(path):
    _, callback = recorded(64, path)
    again = RecordMetrics(path)
    again.load_state_dict(callback.state_dict())
    ppo().learn(64, callback=again)
    assert again.run_name == "PPO_ShortEpisodes_2"


def test_status(path):
    recorded(64, path, run="finished")
    recorded(64, path, Do(20, stop), run="stopped early")
    callback = RecordMetrics(path, run="interrupted")
    with pytest.raises(RuntimeError, match="the env broke"), callback:
        ppo().learn(64, callback=[callback, Do(40, fail)])
    runs = load_runs(path)
    assert runs["status"].tolist() == runs["run"].tolist()
    assert runs["ended"].notna().all()
    assert (runs["episodes"] > 5).all()


def test_running_in_the_meantime(path):
    seen = []
    recorded(64, path, Do(20, lambda: seen.append(load_runs(path).iloc[0])))
    assert seen[0]["status"] == "running"
    assert str(seen[0]["ended"]) == "NaT"


def test_an_interrupted_run_that_starts_again(path):
    callback = RecordMetrics(path)
    model = ppo()
    with pytest.raises(RuntimeError):
        model.learn(64, callback=[callback, Do(40, fail)])
    model.learn(64, callback=callback)
    assert load_runs(path)["status"].tolist() == ["interrupted", "finished"]
    interrupted = load_metrics(path)["timesteps"][load_metrics(path)["run_id"] == 1]
    assert 30 < interrupted.iloc[-1] <= 40


def test_a_program_that_ends_with_an_error_has_written_everything(path):
    result = python(f"""
from tests.metrics.short_episodes import Do, ppo
from velora_sb3.callbacks import RecordMetrics
callback = RecordMetrics({str(path)!r})
ppo().learn(10_000, callback=[callback, Do(40, lambda: 1 / 0)])
""")
    assert result.returncode == 1
    assert result.stderr.rstrip().endswith("ZeroDivisionError: division by zero")
    assert load_runs(path)["status"].tolist() == ["interrupted"]
    assert load_metrics(path)["timesteps"].iloc[-1] > 30


def test_the_file_says_it_all_in_sql(path):
    recorded(64, path)
    connection = sqlite3.connect(path)
    told = connection.execute(
        "SELECT runs.name, count(*), max(timestep) FROM runs JOIN episodes ON episodes.run = runs.id GROUP BY runs.id"
    ).fetchall()
    connection.close()
    rows = load_metrics(path)
    assert told == [("PPO_ShortEpisodes_1", len(rows), rows["timesteps"].max())]
