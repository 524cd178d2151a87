import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import dataclass
from unittest.mock import Mock

import gymnasium as gym
import numpy as np
import pytest
from sb3_contrib import RecurrentPPO
from stable_baselines3 import DDPG, DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.logger import KVWriter
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from tests.tracking.records import Record, read, recording, same_number
from tests.tracking.servers import hanging, refusing, use_server
from velora_sb3.callbacks import CometAnalytics, EarlyStopping, VeloraCallback, WandbAnalytics
from velora_sb3.callbacks.base.episodes import Episode
from velora_sb3.callbacks.trackers.analytics import Analytics

pytest.importorskip("comet_ml")
pytest.importorskip("wandb")

KINDS = ("comet", "wandb")
VIDEO = b"\x00\x00\x00\x18ftypmp42" + bytes(200)  # as much of an mp4 as the packages look at


def make_env(env_id="CartPole-v1", n=1, length=10):
    return DummyVecEnv([lambda: Monitor(gym.make(env_id, max_episode_steps=length)) for _ in range(n)])


def ppo(env=None, **settings):
    return PPO("MlpPolicy", env or make_env(), n_steps=20, batch_size=20, n_epochs=1, seed=3, device="cpu", **settings)


def trackers(**settings):
    """Both, on disk. They start side by side, which takes half the time."""
    return [
        CometAnalytics("project", online=False, **settings),
        WandbAnalytics("project", mode="offline", **settings),
    ]


class Witness(BaseCallback, KVWriter):
    """What has to be in the record: episodes as Monitor counts them, rows as SB3's logger dumps them."""

    def __init__(self):
        super().__init__()
        self.episodes, self.rows = [], []

    def _on_training_start(self):
        self.model.logger.output_formats.append(self)

    def _on_step(self):
        for info in self.locals["infos"]:
            if "episode" in info:
                self.episodes.append((self.num_timesteps, info["episode"]["r"], info["episode"]["l"]))
        return True

    def write(self, key_values, key_excluded, step=0):
        self.rows.append((step, dict(key_values)))


class Studio(VeloraCallback):
    """Finishes a video and a checkpoint in the midst of training, and others at its end."""

    def __init__(self, directory):
        super().__init__()
        self.directory, self.videos, self.saved = directory, [], []

    def config(self):
        return "Studio", {"every": 2}

    def _on_every_step(self):
        if self.n_calls == 5:
            self._produce("CartPole_1.5K")
        return True

    def _on_end(self):
        self._produce("final")

    def _produce(self, name):
        video, save = self.directory / f"{name}.mp4", self.directory / name
        save.mkdir(parents=True)
        (save / "model.zip").write_bytes(name.encode())
        video.write_bytes(VIDEO + name.encode())
        self.videos.append(video)
        self.saved.append(save)


@dataclass
class Run:
    model: object
    witness: Witness
    records: dict[str, Record]
    evaluation: EvalCallback


OFF_POLICY = {"learning_starts": 30, "batch_size": 8, "buffer_size": 200}
CASES = {  # algorithm, environment, number of environments, normalized, timesteps, settings
    "PPO": (PPO, "CartPole-v1", 1, True, 100, {"n_steps": 20, "batch_size": 20, "n_epochs": 1}),
    "DDPG": (DDPG, "Pendulum-v1", 3, False, 120, OFF_POLICY),
    "DQN": (DQN, "CartPole-v1", 1, False, 100, OFF_POLICY),
    "RecurrentPPO": (RecurrentPPO, "CartPole-v1", 3, False, 120, {"n_steps": 20, "batch_size": 20, "n_epochs": 1}),
}


@pytest.fixture(scope="module", params=CASES)
def run(request, tmp_path_factory):
    algorithm, env_id, n_envs, normalized, steps, settings = CASES[request.param]
    env, eval_env = make_env(env_id, n_envs), make_env(env_id)
    if normalized:
        env, eval_env = VecNormalize(env), VecNormalize(eval_env, training=False)
    policy = "MlpLstmPolicy" if algorithm is RecurrentPPO else "MlpPolicy"
    model = algorithm(policy, env, seed=3, device="cpu", policy_kwargs={"net_arch": [8]}, **settings)
    witness, evaluation = Witness(), EvalCallback(eval_env, eval_freq=10, n_eval_episodes=1, verbose=0, warn=False)
    with recording(tmp_path_factory.mktemp(request.param)) as directory:
        stopping = EarlyStopping(1e9, patience=2)
        studio = Studio(directory / "studio")
        model.learn(
            steps, callback=[*trackers(checkpoints=True), evaluation, witness, stopping, studio], log_interval=1
        )
        records = {kind: read(kind, directory) for kind in KINDS}
    assert [len(found) for found in records.values()] == [1, 1]
    return Run(model, witness, {kind: found[0] for kind, found in records.items()}, evaluation)


@pytest.mark.parametrize("kind", KINDS)
def test_every_episode_has_its_row(run, kind):
    record, episodes = run.records[kind], run.witness.episodes
    returns = [episode_return for _, episode_return, _ in episodes]
    assert len(episodes) > 5
    assert [step for step, _ in record.metric("episode/return")] == [step for step, _, _ in episodes]
    assert [value for _, value in record.metric("episode/return")] == pytest.approx(returns, abs=1e-4)
    assert record.metric("episode/length") == [(step, length) for step, _, length in episodes]
    assert [number for _, number in record.metric("episode/number")] == list(range(1, len(episodes) + 1))
    for name, deviations in (("avg", 0), ("upper", 1), ("lower", -1)):
        moving = [np.mean(returns[:n]) + deviations * np.std(returns[:n]) for n in range(1, len(returns) + 1)]
        assert [value for _, value in record.metric(f"reward/moving_{name}")] == pytest.approx(moving, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_of_the_log_is_there_at_its_step(run, kind):
    record = run.records[kind]
    seen = {key for _, row in run.witness.rows for key in row}
    assert any(key.startswith("train/") for key in seen)
    assert {"rollout/ep_rew_mean", "eval/mean_reward", "time/total_timesteps"} <= seen
    for key in seen:
        logged = [(step, row[key]) for step, row in run.witness.rows if row.get(key) is not None]
        assert [step for step, _ in record.metric(key)] == [step for step, _ in logged]
        pairs = zip(record.metric(key), logged, strict=True)
        assert all(same_number(value, float(wanted)) for (_, value), (_, wanted) in pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_evaluations_are_at_the_steps_of_evaluation(run, kind):
    wanted = [step for step, row in run.witness.rows if "eval/mean_reward" in row]
    assert len(wanted) >= 3
    assert [step for step, _ in run.records[kind].metric("eval/mean_reward")] == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_name_and_tags_are_the_algorithms_and_the_envs(run, kind):
    algorithm = type(run.model).__name__
    environment = run.model.get_env().get_attr("spec")[0].name
    assert run.records[kind].name == f"{algorithm}_{environment}_{run.model._total_timesteps}"
    assert run.records[kind].tags == {algorithm, environment}
    assert run.records[kind].project == "project"


@pytest.mark.parametrize("kind", KINDS)
def test_the_configuration_says_what_was_trained_and_how(run, kind):
    config, model = run.records[kind].config, run.model
    wanted = {
        "algorithm": type(model).__name__,
        "hyperparameters/gamma": model.gamma,
        "hyperparameters/batch_size": model.batch_size,
        "policy": model.policy_class.__name__,
        "policy_kwargs/net_arch": "[8]",
        "env/id": model.get_env().get_attr("spec")[0].id,
        "env/n_envs": model.n_envs,
        "seed": 3,
        "total_timesteps": model._total_timesteps,
        "callbacks/EarlyStopping/target": 1e9,
        "callbacks/EarlyStopping/patience": 2,
        "callbacks/Studio/every": 2,
        "callbacks/WandbAnalytics/mode": "offline",
        "callbacks/CometAnalytics/online": False,
        "callbacks/EvalCallback": "{}",
    }
    assert {key: config[key] for key in wanted} == wanted
    assert "versions/stable-baselines3" in config
    assert ("VecNormalize" in config["env/vectorized"]) == (type(model) is PPO)


@pytest.mark.parametrize("kind", KINDS)
def test_videos_and_checkpoints_follow_those_who_make_them(run, kind):
    record, n_envs, last = run.records[kind], run.model.n_envs, run.model.num_timesteps
    assert [content for _, content in record.videos] == [VIDEO + b"CartPole_1.5K", VIDEO + b"final"]
    assert record.models[0][1:] == ("CartPole_1.5K", {"model.zip": b"CartPole_1.5K"})
    assert record.models[1][1:] == ("final", {"model.zip": b"final"})
    for (middle, *_), (final, *_) in (record.videos, record.models):
        assert 5 * n_envs <= middle < last
        assert final == last


def test_nothing_stays_behind(run):
    assert [type(output) for output in run.model.logger.output_formats if type(output) is not Witness] == []


class Log(BaseCallback):
    """Logs what SB3's formats do not all take."""

    def _on_step(self):
        if self.n_calls == 5:
            self.logger.record("odd/none", None)
            self.logger.record("odd/text", "as it is")
            self.logger.record("odd/infinite", float("inf"))
            self.logger.record("odd/numpy", np.float32(0.25))
            self.logger.record("odd/weights", np.arange(10.0))
            self.logger.record("odd/not_here", 1.0, exclude=KINDS)
            self.logger.record("odd/here", 1.0, exclude="stdout")
            self.logger.dump(5)
        return True


@dataclass
class Odd:
    callbacks: dict[str, Analytics]
    records: dict[str, Record]
    printed: list[str]
    changed: list[str]


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """One run more, for everything that is not as usual."""
    printed = io.StringIO()
    with recording(tmp_path_factory.mktemp("odd")) as directory, contextlib.redirect_stdout(printed):
        settings = {"tags": ["a", "b"], "verbose": 1}
        both = {
            "comet": CometAnalytics("project", "mine", online=False, **settings),
            "wandb": WandbAnalytics("project", "mine", mode="offline", **settings),
        }
        before = surroundings()
        others = [Log(), Studio(directory / "studio"), EarlyStopping(1e8), EarlyStopping(1e9)]
        ppo().learn(20, callback=[*both.values(), *others])
        changed = [name for name, value in surroundings().items() if value != before[name]]
        records = {kind: read(kind, directory)[0] for kind in KINDS}
    return Odd(both, records, printed.getvalue().splitlines(), changed)


def surroundings():
    """What Comet and W&B like to change."""
    return {
        "excepthook": sys.excepthook,
        "exit": sys.exit,
        "finders": list(sys.meta_path),
        "environment": dict(os.environ),
        "ctrl-c": signal.getsignal(signal.SIGINT),
        "modules": {name for name in sys.modules if name.partition(".")[0] in ("wandb", "comet_ml")},
        "threads": {thread.name for thread in threading.enumerate()},
    }


def test_nothing_of_the_packages_comes_into_the_training_process(odd):
    assert odd.changed == []


@pytest.mark.parametrize("kind", KINDS)
def test_ones_own_name_and_tags(odd, kind):
    assert (odd.records[kind].name, odd.records[kind].tags) == ("mine", {"a", "b"})


@pytest.mark.parametrize("kind", KINDS)
def test_odd_values(odd, kind):
    record = odd.records[kind]
    sent = {key for _, row in record.rows for key in row if key.startswith("odd/")}
    assert sent == {"odd/infinite", "odd/numpy", "odd/here", "odd/text", "odd/weights"}
    assert record.metric("odd/infinite") == [(5, float("inf"))]
    assert record.metric("odd/numpy") == [(5, 0.25)]
    text = (5, "as it is") if kind == "wandb" else (5, ("text-sample", b"as it is"))
    assert record.metric("odd/text") == [text]
    ((_, histogram),) = record.metric("odd/weights")
    assert (histogram["_type"] if kind == "wandb" else histogram[0]) in ("histogram", "histogram3d")


@pytest.mark.parametrize("kind", KINDS)
def test_checkpoints_are_sent_only_if_asked_for(odd, kind):
    assert len(odd.records[kind].videos) == 2
    assert odd.records[kind].models == []


@pytest.mark.parametrize("kind", KINDS)
def test_callbacks_of_one_name_are_numbered(odd, kind):
    config = odd.records[kind].config
    assert (config["callbacks/EarlyStopping/target"], config["callbacks/EarlyStopping 2/target"]) == (1e8, 1e9)


def test_it_says_where_the_run_is_if_asked_and_the_packages_say_nothing(odd):
    wheres = [f"{type(callback).__name__}: {callback.location}" for callback in odd.callbacks.values()]
    assert odd.printed == [*(callback.info() for callback in odd.callbacks.values()), *wheres]


@pytest.fixture
def directory(tmp_path):
    with recording(tmp_path):
        yield tmp_path


class Raises(BaseCallback):
    def _on_step(self):
        if self.num_timesteps == 45:
            raise RuntimeError("a bug")
        return True


def last_update(record):
    return max(step for step, _ in record.metric("train/n_updates"))


def test_from_run_to_run(directory):
    model, (comet, wandb) = ppo(), trackers()
    with pytest.raises(RuntimeError, match="a bug"):
        model.learn(100, callback=[comet, wandb, Raises()])
    model.learn(40, callback=[comet, wandb])
    for kind in KINDS:  # the next start has ended the interrupted run, and is another
        interrupted, second = read(kind, directory)
        assert last_update(interrupted) == 40
        assert interrupted.succeeded is (None if kind == "comet" else False)
        assert interrupted.key != second.key
        assert second.rows[0][0] < 40
        assert {step for step, _ in second.rows} == {step for step, _ in second.rows if step <= 40}

    restored = CometAnalytics("project", online=False)
    restored.load_state_dict(comet.state_dict())
    model.learn(40, callback=[restored, wandb], reset_num_timesteps=False)
    assert restored.experiment_key == comet.experiment_key
    for kind, key in (("comet", comet.experiment_key), ("wandb", wandb.run_id)):
        _, second, third = read(kind, directory)
        assert second.key == third.key == key
        assert all(40 < step <= 80 for step, _ in third.rows)
        assert third.metric("episode/number")[0][1] == second.metric("episode/number")[-1][1] + 1
        returns = [value for _, value in second.metric("episode/return")]
        moving = np.mean([*returns, third.metric("episode/return")[0][1]])
        assert third.metric("reward/moving_avg")[0][1] == pytest.approx(moving)


def test_models_that_take_turns_have_a_run_each(directory):
    models, both = [ppo(), ppo()], trackers()
    for turn in range(2):
        for model in models:
            model.learn(40, callback=both, reset_num_timesteps=turn == 0)
    for kind in KINDS:
        keys = [record.key for record in read(kind, directory)]
        assert keys[0] == keys[2] != keys[1] == keys[3]


def test_files_stay_where_the_callback_was_made(directory, monkeypatch):
    """An environment may change the working directory when SB3 resets it, before callbacks start."""
    for name in ("WANDB_DIR", "COMET_OFFLINE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("start", "later"):
        (directory / name).mkdir()
    monkeypatch.chdir(directory / "start")
    both = trackers()
    monkeypatch.chdir(directory / "later")
    ppo().learn(20, callback=both)
    assert all(one.location.startswith(str(directory / "start")) for one in both)
    assert list((directory / "later").iterdir()) == []
    both[0]._directory = directory / "nowhere"  # as on another machine, to which the callback was sent
    ppo().learn(20, callback=both[0])
    assert both[0].location.startswith(str(directory / "later"))


def test_a_directory_that_cannot_be_written(directory, monkeypatch):
    """The packages then choose a temporary one, which a cluster deletes with the job."""
    monkeypatch.setenv("WANDB_DIR", "/dev/null/below")
    monkeypatch.delenv("COMET_OFFLINE_DIRECTORY", raising=False)
    monkeypatch.chdir(directory)
    (directory / ".cometml-runs").touch()  # where Comet would make a directory
    for one in trackers():
        with pytest.warns(RuntimeWarning, match=f"{type(one).__name__}: the directory .* cannot be written") as warned:
            ppo().learn(20, callback=one)
        substitute = str(warned[0].message).removesuffix(" instead").rpartition(" ")[2]
        assert one.location.startswith(substitute)


def test_moving_averages_take_infinite_returns(monkeypatch):
    comet, rows = CometAnalytics("project", online=False), []
    monkeypatch.setattr(comet, "_log", lambda row, *_: rows.append(row))
    for number, value in enumerate((np.inf, -np.inf), start=1):
        comet._on_episode(Episode(number, value, 1, number, 0))
    assert rows[0]["reward/moving_avg"] == np.inf
    assert np.isnan(rows[1]["reward/moving_avg"])


def test_moving_averages_leave_out_nan(monkeypatch):
    comet, rows = CometAnalytics("project", online=False), []
    monkeypatch.setattr(comet, "_log", lambda row, *_: rows.append(row))
    for number, value in enumerate((np.nan, 1.0, np.nan, 3.0), start=1):
        comet._on_episode(Episode(number, value, 1, number, 0))
    assert [row.get("reward/moving_avg") for row in rows] == [None, 1.0, 1.0, 2.0]


def test_a_given_run_goes_on_under_its_own_name_and_ends_with_a_with_block(directory):
    comet = CometAnalytics("project", online=False, experiment_key="e" * 40)
    wandb = WandbAnalytics("project", mode="offline", run_id="mine")
    with pytest.raises(RuntimeError, match="a bug"), comet, wandb:
        ppo().learn(100, callback=[comet, wandb, Raises()])
    for kind, key in (("comet", "e" * 40), ("wandb", "mine")):
        (record,) = read(kind, directory)
        assert record.key == key
        assert not record.name
        assert record.tags == set()
        assert last_update(record) == 40


PROGRAM = """
import os, signal, sys, time
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from velora_sb3.callbacks import CometAnalytics, WandbAnalytics

class End(BaseCallback):
    def _on_step(self):
        if self.num_timesteps == 45:
            if sys.argv[1] == "SIGINT":
                os.kill(os.getpid(), signal.SIGINT)
            while not all(tracker._tracker.location for tracker in trackers):
                time.sleep(0.05)
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)
        return True

trackers = [CometAnalytics("p", online=False), WandbAnalytics("p", mode="offline")]
model = PPO("MlpPolicy", "CartPole-v1", n_steps=20, batch_size=20, n_epochs=1, device="cpu")
model.learn(100, callback=[*trackers, End()])
"""


@pytest.mark.parametrize("name", ["SIGINT", pytest.param("SIGKILL", marks=pytest.mark.slow)])
def test_a_program_that_is_stopped_leaves_a_whole_run(directory, name):
    result = subprocess.run([sys.executable, "-c", PROGRAM, name], capture_output=True, text=True)
    assert result.returncode == -getattr(signal, name)
    assert result.stdout == ""
    assert ("KeyboardInterrupt" in result.stderr) == (name == "SIGINT")
    started = time.monotonic()
    while name == "SIGKILL" and not have_ended(directory):  # by themselves, then
        assert time.monotonic() - started < 60
        time.sleep(0.1)
    for kind in KINDS:
        (record,) = read(kind, directory)
        assert last_update(record) == 40
    assert read("wandb", directory)[0].succeeded is False


def have_ended(directory):
    try:
        records = [record for kind in KINDS for record in read(kind, directory)]
    except (KeyError, zipfile.BadZipFile):  # being written
        return False
    return len(records) == 2 and records[1].succeeded is not None


class Pace(VeloraCallback):
    """How long training has taken at most from one step to the next."""

    longest, last = 0.0, None

    def _on_every_step(self):
        now = time.monotonic()
        self.longest = max(self.longest, now - (self.last or now))
        self.last = now
        return True


@pytest.mark.parametrize("server", [refusing, hanging])
def test_training_does_not_wait_for_a_server(directory, monkeypatch, server):
    pace = Pace()
    with server() as url:
        use_server(url, monkeypatch)
        both = [CometAnalytics("project"), WandbAnalytics("project")]
        started = time.monotonic()
        with pytest.warns(RuntimeWarning, match="does not respond; recording to disk instead") as told:
            ppo().learn(400, callback=[*both, pace])
        took = time.monotonic() - started
    assert sorted(str(warning.message).split(":")[0] for warning in told) == ["CometAnalytics", "WandbAnalytics"]
    assert pace.longest < 1.0
    assert took < 30
    for kind in KINDS:
        (record,) = read(kind, directory)
        assert [number for _, number in record.metric("episode/number")] == list(range(1, pace.episodes.finished + 1))


@pytest.mark.parametrize(
    ("make", "needs"),
    [
        (lambda: CometAnalytics("project", online=False), r'CometAnalytics needs comet_ml: .*"velora-sb3\[comet\]"'),
        (lambda: WandbAnalytics("project", mode="offline"), r'WandbAnalytics needs wandb: .*"velora-sb3\[wandb\]"'),
    ],
)
def test_without_the_package_it_says_what_to_install(monkeypatch, make, needs):
    monkeypatch.setattr("velora_sb3._optional.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=needs):
        make()


def test_a_long_name_of_an_environment_is_shortened_where_it_has_to_be(monkeypatch):
    name, tracker = "Long" * 40, Mock(return_value=Mock(problems=(), location=None))
    monkeypatch.setattr("velora_sb3.callbacks.trackers.analytics.env_name", lambda env: name)
    monkeypatch.setattr("velora_sb3.callbacks.trackers.analytics.Tracker", tracker)
    ppo().learn(20, callback=trackers())
    comet, wandb = (call.args[1] for call in tracker.call_args_list)
    assert (comet["experiment_name"], comet["tags"]) == (f"PPO_{name}_20", ["PPO", name])
    assert (wandb["name"], wandb["tags"]) == (f"PPO_{name}_20"[:128], ["PPO", name[:64]])


@pytest.mark.parametrize("tags", ["one", [1, 2]])
@pytest.mark.parametrize("kind", [CometAnalytics, WandbAnalytics])
def test_tags_are_a_list_of_strings(kind, tags):
    with pytest.raises(TypeError, match="tags must be a list of strings"):
        kind("project", tags=tags)
