"""Which checkpoints SaveCheckpoints keeps, and their names with the time."""

import json
import re

import pytest
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback

from tests.callbacks.runs import DDPG, PPO, Listener, fill, make_env, make_model, names, read, saver
from velora_sb3.callbacks.checkpointing import kept_checkpoints, save_checkpoints
from velora_sb3.checkpoints import best_checkpoints


class Record(BaseCallback):
    """Logs a number after each step, and dumps it."""

    def __init__(self, key, numbers):
        super().__init__()
        self.key, self.numbers = key, list(numbers)

    def _on_step(self):
        self.logger.record(self.key, self.numbers[self.n_calls - 1])
        self.logger.dump(self.num_timesteps)
        return True


def train(tmp_path, *others, steps=24, **settings):
    """Six checkpoints, after 4, 8, ... 24 steps, and the final one."""
    save = saver(tmp_path, frequency=1, **settings)
    make_model(DDPG, make_env(tmp_path, DDPG, length=4)).learn(steps, callback=[*others, save])
    return save


def test_the_last_stay(tmp_path):
    save = train(tmp_path, keep_last=2)
    assert names(save) == ["Steps_6", "Steps_final"] == [path.name for path in save.saved]


@pytest.mark.parametrize("settings", [{"save_top_k": 3}, {"mode": "min"}, {"save_last": False}])
def test_a_ranking_needs_a_metric(tmp_path, settings):
    with pytest.raises(ValueError, match=rf"{next(iter(settings))} without monitor: no metric ranks"):
        saver(tmp_path, keep_last=2, **settings)
    saver(tmp_path, monitor="eval/mean_reward", **settings)


def test_of_others_nothing_is_removed(tmp_path):
    fill(tmp_path / "checkpoints" / "run" / "saves" / "Steps_99" / "model.zip")
    assert names(train(tmp_path, keep_last=1, force=True)) == ["Steps_99", "Steps_final"]


def test_one_that_cannot_be_removed_is_told_once_and_removed_later(tmp_path, monkeypatch):
    remove, failed = kept_checkpoints.remove_directory, []

    def denied(path):
        if path.name == "Steps_1" and len(failed) < 3:
            failed.append(path)
            raise PermissionError("denied")
        remove(path)

    monkeypatch.setattr(kept_checkpoints, "remove_directory", denied)
    message = r"SaveCheckpoints: could not remove \S*Steps_1 \(PermissionError: denied\); training continues"
    with pytest.warns(RuntimeWarning, match=message) as told:
        save = train(tmp_path, keep_last=1, steps=16)
    assert (len(told), len(failed), names(save)) == (1, 3, ["Steps_final"])

    failed.clear()
    with pytest.warns(RuntimeWarning, match="Steps_1 "):
        save = train(tmp_path, dirname="short", keep_last=1, steps=12)
    assert names(save) == ["Steps_1", "Steps_final"]  # the others are gone all the same


def test_they_go_only_when_the_new_one_stands(tmp_path, monkeypatch):
    write, seen = save_checkpoints.write_whole_run, []

    def watched(model, directory, **settings):
        seen.append(sorted(path.name for path in directory.parent.iterdir() if not path.name.startswith(".")))
        return write(model, directory, **settings)

    monkeypatch.setattr(save_checkpoints, "write_whole_run", watched)
    train(tmp_path, keep_last=1, steps=12)
    assert seen == [[], ["Steps_1"], ["Steps_2"], ["Steps_3"]]


def test_one_that_fails_removes_nothing(tmp_path, monkeypatch):
    write = save_checkpoints.write_whole_run

    def full(model, directory, **settings):
        if model.num_timesteps > 4:
            raise OSError("no space left")
        return write(model, directory, **settings)

    monkeypatch.setattr(save_checkpoints, "write_whole_run", full)
    with pytest.warns(RuntimeWarning, match="no space left"):
        save = train(tmp_path, keep_last=1, steps=12)
    assert names(save) == ["Steps_1"]


@pytest.mark.parametrize(
    ("expected", "settings"),
    [
        (["Steps_2", "Steps_final"], {}),
        (["Steps_2", "Steps_4", "Steps_final"], {"save_top_k": 2, "save_last": False}),
        (["Steps_3", "Steps_final"], {"mode": "min"}),
        (["Steps_2", "Steps_6", "Steps_final"], {"keep_last": 2}),
    ],
)
def test_the_best_by_a_key_of_the_logger_stay(expected, settings, tmp_path):
    numbers = [number for number in (1, 9, 0, 8, 2, 2) for _ in range(4)]
    save = train(tmp_path, Record("mine/score", numbers), monitor="mine/score", **settings)
    assert names(save) == expected
    chosen = best_checkpoints(save.saves, 1, "mine/score", settings.get("mode", "max"))[0]
    assert chosen.name == ("Steps_3" if "mode" in settings else "Steps_2")
    assert read(chosen / "metadata.json")["monitored"] == {"mine/score": 0 if "mode" in settings else 9}


def test_the_best_by_evaluations_stay(tmp_path):
    (tmp_path / "evaluation").mkdir()
    evaluation = EvalCallback(make_env(tmp_path / "evaluation", DDPG), eval_freq=6, verbose=0, warn=False)
    evaluation.eval_env.seed(3)
    save = train(tmp_path, evaluation, monitor="eval/mean_reward")  # the first is older than any evaluation
    scores = [read(path / "metadata.json")["monitored"]["eval/mean_reward"] for path in save.saved]
    best = max(sum(results) / 5 for results in evaluation.evaluations_results) if evaluation.log_path else None
    assert best is None and max(scores) == pytest.approx(evaluation.best_mean_reward)
    assert len(names(save)) <= 2


def test_the_best_by_the_return_of_episodes_stay(tmp_path):
    listener = Listener()
    save = train(tmp_path, listener, monitor="episode return", save_last=False)
    returns = [episode.episode_return for episode in listener.heard]
    means = [sum(returns[:number]) / number for number in range(1, 7)]
    best = max(range(6), key=lambda number: (means[number], number)) + 1
    assert set(names(save)) - {"Steps_final"} <= {f"Steps_{best}"}
    assert max(read(path / "metadata.json")["monitored"]["episode return"] for path in save.saved) == max(means)


def test_an_unknown_key_is_told_at_once_with_those_that_there_are(tmp_path):
    told = "no number 'mine/scor'; did you mean 'mine/score'.* Available: .*mine/score.*or use 'episode return'"
    with pytest.warns(RuntimeWarning, match=told) as warned:
        save = train(tmp_path, Record("mine/score", range(24)), monitor="mine/scor", save_top_k=2)
    assert len(warned) == 1
    assert names(save) == ["Steps_6", "Steps_final"]  # the newest, as nothing tells which are better


def test_names_with_the_time(tmp_path):
    save = train(tmp_path, timestamp=True, steps=4)
    assert [re.sub(r"\d{8}T\d{6}Z$", "TIME", name) for name in names(save)] == ["Steps_1_TIME", "Steps_final_TIME"]


def test_values_and_checkpoints_of_another_model_do_not_count(tmp_path):
    """The same callbacks in the ``learn()`` of a second model: what the first reached is none of its own."""
    (tmp_path / "evaluation").mkdir()
    env = make_env(tmp_path / "evaluation", DDPG, reward=5.0, length=2)
    evaluation = EvalCallback(env, eval_freq=20, n_eval_episodes=1, verbose=0, warn=False)
    save = saver(tmp_path, frequency=1, monitor="episode return", keep_last=2, force=True)
    make_model(DDPG, make_env(tmp_path, DDPG, length=4, reward=9.0)).learn(24, callback=[evaluation, save])
    assert evaluation.last_mean_reward == 10.0
    assert names(save) == ["Steps_6", "Steps_final"]

    make_model(DDPG, make_env(tmp_path, DDPG, length=4, reward=-1.0)).learn(8, callback=[evaluation, save])
    assert [path.name for path in save.saved] == ["Steps_2", "Steps_final"]
    assert names(save) == ["Steps_2", "Steps_6", "Steps_final"]  # the first run's stay
    for path in save.saved:  # no evaluation of the second model so far
        assert "eval/mean_reward" not in read(path / "manifest.json")["metrics"]
        assert read(path / "metadata.json")["monitored"] == {"episode return": -4.0}


def test_a_state_goes_on_keeping(tmp_path):
    save = train(tmp_path, keep_last=2)
    again = saver(tmp_path, frequency=1, keep_last=2, force=True)
    again.load_state_dict(json.loads(json.dumps(save.state_dict())))
    assert again.saved == save.saved
    model = make_model(PPO, make_env(tmp_path, length=4))
    model.num_timesteps = 24
    model.learn(16, callback=again, reset_num_timesteps=False)
    assert names(again)[-1] == "Steps_final" and len(names(again)) == 2


class Evaluate(BaseCallback):
    """Stands for evaluations after certain timesteps."""

    def __init__(self, values):
        super().__init__()
        self.values = values

    def _on_step(self):
        if self.num_timesteps in self.values:
            self.logger.record("eval/mean_reward", self.values[self.num_timesteps])
            self.logger.dump(self.num_timesteps)
        return True


@pytest.mark.parametrize(
    ("values", "top", "expected"),
    [
        ({3: 9.0}, 1, ["Steps_1"]),
        ({3: 9.0, 13: 8.0}, 2, ["Steps_1", "Steps_4"]),
        ({3: 9.0, 13: 9.0}, 1, ["Steps_4"]),  # an equal value is another one
        ({2: 7.0, 3: 9.0, 13: 8.0}, 1, ["Steps_1"]),
    ],
)
def test_a_value_counts_for_the_first_checkpoint_after_it(values, top, expected, tmp_path):
    settings = {"monitor": "eval/mean_reward", "save_top_k": top, "save_last": False}
    save = train(tmp_path, Evaluate(values), **settings)
    assert names(save) == [*expected, "Steps_final"]
    assert read(save.saves / "Steps_final" / "metadata.json")["monitored"] == {"eval/mean_reward": None}


def test_a_value_counts_for_the_next_checkpoint_if_one_cannot_be_written(tmp_path, monkeypatch):
    write = save_checkpoints.write_whole_run

    def full(model, directory, **settings):
        if model.num_timesteps == 4:
            raise OSError("no space left")
        return write(model, directory, **settings)

    monkeypatch.setattr(save_checkpoints, "write_whole_run", full)
    with pytest.warns(RuntimeWarning, match="no space left"):
        save = train(tmp_path, Evaluate({3: 9.0}), monitor="eval/mean_reward", save_last=False)
    assert names(save) == ["Steps_2", "Steps_final"]


def test_a_value_that_has_no_checkpoint_yet_goes_on_with_the_state(tmp_path):
    save = train(tmp_path, monitor="episode return")
    save._record.returns.add(1.0)
    for unscored in (True, False):
        again = saver(tmp_path, frequency=1, monitor="episode return", keep_last=2, force=True)
        again.load_state_dict(json.loads(json.dumps(save.state_dict())))
        assert (again._score() is not None) == unscored
        save._scored = save._values_so_far()
