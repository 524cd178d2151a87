"""What SaveCheckpoints saves is the whole run."""

import os
import signal
from copy import deepcopy

import numpy as np
import pytest
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback, EveryNTimesteps

from tests.callbacks.runs import DDPG, PPO, Listener, make_env, make_model, names, read, recorded, saver
from tests.checkpoints.runs import CASES, NOT_EXACT, Cut, assert_equal, disturb, everything
from tests.metrics.short_episodes import Do
from velora_sb3 import load_checkpoint, resume_training
from velora_sb3.callbacks import EarlyStopping
from velora_sb3.checkpoints import newest_checkpoint


class CutAt(BaseCallback):
    """Training ends in an error."""

    def __init__(self, timestep):
        super().__init__()
        self.timestep = timestep

    def _on_step(self):
        if self.num_timesteps == self.timestep:
            raise Cut
        return True


def run(case, root, cut=10**9):
    callbacks = [EarlyStopping(1e9), saver(root, frequency=2, buffer="replay" in root.name), Listener(), CutAt(cut)]
    model = case.algorithm(case.policy, case.env(), seed=3, **deepcopy(case.settings))
    return model, callbacks


@pytest.mark.parametrize(("name", "directory"), [("SAC", "replay"), ("PPO", "plain"), ("DQN", "replay")])
def test_a_run_goes_on_from_its_directory_to_the_last_bit(name, directory, tmp_path):
    whole, (_, expected, heard, _) = run(CASES[name], tmp_path / f"{directory} whole")
    whole.learn(160, callback=[_, expected, heard])
    model, callbacks = run(CASES[name], tmp_path / directory, cut=135)
    with pytest.raises(Cut):
        model.learn(160, callback=callbacks)
    saves = tmp_path / directory / "checkpoints" / "run"
    newest = newest_checkpoint(saves)
    disturb()
    again = [
        EarlyStopping(1e9),
        saver(tmp_path / directory, frequency=2, buffer=directory == "replay", force=True),
        Listener(),
    ]
    start = read(newest / "metadata.json")["timesteps"]
    resumed = resume_training(saves, CASES[name].env(), again, device="cpu")
    assert 0 < start < 135
    assert_equal(everything(resumed), everything(whole))
    assert again[2].heard == [episode for episode in heard.heard if episode.timestep > start]
    assert names(again[1]) == names(expected)
    one, other = (read(save.directory / "completed.json") for save in (again[1], expected))
    for entry in ("episodes", "steps", "best_return", "average_return", "recent_returns", "losses", "interrupted"):
        assert one[entry] == other[entry]


def test_sb3_s_model_stands_beside_it(tmp_path):
    save = saver(tmp_path)
    model = make_model(PPO, make_env(tmp_path))
    model.learn(32, callback=save)
    from_bundle = load_checkpoint(save.saves / "Steps_final", device="cpu")
    from_zip = PPO.load(save.saves / "Steps_final" / "model.zip", device="cpu")
    for one in (from_bundle, from_zip):
        assert_equal(dict(one.policy.state_dict()), dict(model.policy.state_dict()))


def test_without_the_buffer_the_one_who_resumes_is_told(tmp_path):
    save = saver(tmp_path, frequency=2)
    make_model(DDPG, make_env(tmp_path, DDPG, length=4)).learn(32, callback=save)
    env, again = make_env(tmp_path, DDPG, length=4), saver(tmp_path, frequency=2, force=True)
    with pytest.warns(UserWarning, match="with an empty one|episode is discarded") as told:
        resume_training(save.directory, env, again, total_timesteps=40, device="cpu")
    texts = [str(warning.message) for warning in told]
    assert any("has no replay buffer: training resumes with an empty one" in text for text in texts)
    assert any("are reset: Record" in text or "are reset: Steps does not expose" in text for text in texts)


def test_a_lambda_does_not_stop_training(tmp_path):
    model = make_model(PPO, make_env(tmp_path), learning_rate=lambda remaining: 1e-3 * remaining)
    save = saver(tmp_path, frequency=2)
    with pytest.warns(
        RuntimeWarning, match=r"contain model.zip only.*learning_rate \(function .*LinearSchedule"
    ) as told:
        model.learn(64, callback=save)
    assert len(told) == 1 and len(names(save)) > 2
    for path in save.saves.iterdir():
        assert sorted(file.name for file in path.iterdir()) == ["metadata.json", "model.zip"]
    assert PPO.load(save.saves / "Steps_final" / "model", device="cpu").num_timesteps == 64


def test_or_it_is_left_out_and_passed_again(tmp_path):
    def falling(remaining):
        return 1e-3 * remaining

    save = saver(tmp_path, custom_objects=["learning_rate"])
    make_model(PPO, make_env(tmp_path), learning_rate=falling).learn(32, callback=save)
    loaded = load_checkpoint(save.saves / "Steps_final", custom_objects={"learning_rate": falling}, device="cpu")
    assert loaded.lr_schedule(0.5) == 5e-4


def test_after_an_evaluation_the_step_under_way_is_not_in_it_and_the_one_who_resumes_is_told(tmp_path):
    save = saver(tmp_path, buffer=True)
    evaluation = EvalCallback(CASES["DQN"].env(), callback_after_eval=save, eval_freq=20, n_eval_episodes=1, verbose=0)
    model = DQN("MlpPolicy", CASES["DQN"].env(), seed=1, **deepcopy(CASES["DQN"].settings))
    with save:
        model.learn(40, callback=evaluation)
    with pytest.warns(UserWarning, match="in the middle of a rollout"):
        loaded = load_checkpoint(save.saves / "CartPole_40_steps", CASES["DQN"].env(), device="cpu")
    assert loaded.num_timesteps == 40 and loaded.replay_buffer.pos == 39


@pytest.mark.parametrize("algorithm", [DDPG, PPO])
def test_episodes_that_do_not_go_on_are_not_counted_on(algorithm, tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    save = saver(tmp_path, frequency=3, buffer=algorithm is DDPG)
    make_model(algorithm, make_env(tmp_path / "first", algorithm, 2)).learn(64, callback=save)
    newest = sorted((path for path in save.saved if "final" not in path.name), key=lambda path: path.stat().st_mtime)[
        -1
    ]
    before, listener = read(newest / "metadata.json")["episodes"], Listener()
    again = saver(tmp_path, frequency=3, buffer=algorithm is DDPG, force=True)
    env = make_env(tmp_path / "second", algorithm, 2)
    with pytest.warns(UserWarning, match="episode is discarded"):
        resume_training(newest, env, [again, listener], total_timesteps=160, device="cpu")
    for index in range(2):
        heard = [(e.episode_return, e.length) for e in listener.heard if e.env_index == index]
        assert len(heard) > 2
        assert np.allclose(heard, recorded(tmp_path / "second", index))
    assert listener.heard[0].number == before + 1


def signalled(number, at, *more, root, case=CASES["PPO"]):
    """A run that gets a signal."""
    callbacks = [saver(root, frequency=10**6, on_signal=True), *more, Do(at, lambda: os.kill(os.getpid(), number))]
    model = case.algorithm(case.policy, case.env(), seed=3, **deepcopy(case.settings))
    try:
        model.learn(160, callback=callbacks)
    finally:
        callbacks[0]._end(interrupted=True)  # as at the end of the program


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_waits_until_the_run_can_be_saved_whole(number, tmp_path):
    ended, code = (KeyboardInterrupt, None) if number == signal.SIGINT else (SystemExit, 128 + number)
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(ended) as exits:
        signalled(number, 70, root=tmp_path / "cut")
    assert getattr(exits.value, "code", None) == code
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    directory = tmp_path / "cut" / "checkpoints" / "run"
    assert read(newest_checkpoint(directory) / "metadata.json")["timesteps"] == 80  # rollouts of 20 steps
    assert read(directory / "completed.json")["interrupted"]
    disturb()
    resumed = resume_training(
        directory, CASES["PPO"].env(), [saver(tmp_path / "cut", force=True), Do(1, None)], device="cpu"
    )
    model, _ = run(CASES["PPO"], tmp_path / "whole")
    model.learn(160)
    assert_equal(everything(resumed), everything(model))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_a_second_signal_does_not_wait(tmp_path):
    with pytest.raises(SystemExit) as exits:
        signalled(signal.SIGHUP, 70, Do(72, lambda: os.kill(os.getpid(), signal.SIGTERM)), root=tmp_path)
    assert exits.value.code == 128 + signal.SIGTERM
    assert read(tmp_path / "checkpoints" / "run" / "completed.json")["steps"] == 72


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_a_signal_in_the_last_rollout_takes_effect_after_the_end(tmp_path):
    heard = Listener()
    with pytest.raises(SystemExit) as exits:
        signalled(signal.SIGTERM, 150, heard, root=tmp_path)
    assert exits.value.code == 128 + signal.SIGTERM
    assert not heard.interrupted
    done = read(tmp_path / "checkpoints" / "run" / "completed.json")
    assert (done["steps"], done["interrupted"]) == (160, False)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_ars_stops_at_the_next_step(tmp_path):
    with pytest.raises(SystemExit) as exits:
        signalled(signal.SIGTERM, 70, root=tmp_path, case=NOT_EXACT["ARS"])
    assert exits.value.code == 128 + signal.SIGTERM


def test_a_child_of_an_event_cannot_wait_for_a_rollout(tmp_path):
    model = CASES["PPO"].algorithm("MlpPolicy", CASES["PPO"].env(), **deepcopy(CASES["PPO"].settings))
    with pytest.raises(ValueError, match="must see every step"):
        model.learn(40, callback=EveryNTimesteps(20, saver(tmp_path, on_signal=True)))
