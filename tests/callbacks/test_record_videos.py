"""Which frames stand in which file."""

import json
import re

import pytest
from stable_baselines3 import DDPG, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from tests.callbacks.counting_env import counting, shown, subprocesses
from velora_sb3.callbacks import RecordVideos, record_videos
from velora_sb3.video.reader import read_video


def ppo(env, n_steps=8):
    return PPO("MlpPolicy", env, n_steps=n_steps, batch_size=n_steps * env.num_envs, n_epochs=1, seed=0, device="cpu")


def envs(lengths=(5,), kind=DummyVecEnv, **kwargs):
    """Envs with episodes of these lengths."""
    kwargs = {"render_mode": "rgb_array", **kwargs}
    return kind([counting(number=number, length=length, **kwargs) for number, length in enumerate(lengths)])


def names(callback):
    assert sorted(path.name for path in callback.directory.iterdir()) == sorted({path.name for path in callback.videos})
    return [re.fullmatch(r"(?:Counting|CartPole)(.*)\.mp4", path.name)[1] for path in callback.videos]


def whole(episode, length=5, number=0):
    """The frames of an episode of training: its last state is not among them."""
    return [(number, episode, step) for step in range(length)]


def test_with_one_env_the_number_is_that_of_the_episode(tmp_path):
    record = RecordVideos("run", frequency=3, root=tmp_path)
    ppo(envs()).learn(56, callback=record)  # the twelfth starts with the last step but one
    assert names(record) == ["-episode-3", "-episode-6", "-episode-9", "_final-episode-0"]
    assert record.directory == tmp_path / "run" / "videos"
    assert [shown(video) for video in record.videos[:3]] == [whole(2), whole(5), whole(8)]


def test_a_program_that_changes_its_directory_loses_no_video(tmp_path, monkeypatch):
    class Moves(BaseCallback):
        def _on_step(self):
            if self.num_timesteps == 12:  # in mid-video
                monkeypatch.chdir(tmp_path)
            return True

    (tmp_path / "start").mkdir()
    monkeypatch.chdir(tmp_path / "start")
    record = RecordVideos("run", frequency=3)
    ppo(envs()).learn(32, callback=[record, Moves()])
    assert record.directory == tmp_path / "start" / "checkpoints" / "run" / "videos"
    assert names(record) == ["-episode-3", "-episode-6", "_final-episode-0"]


def test_what_is_tried_first_touches_no_file_of_the_directory(tmp_path):
    (tmp_path / "run" / "videos").mkdir(parents=True)
    mine = tmp_path / "run" / "videos" / "trial.mp4"
    mine.write_bytes(b"mine")
    record = RecordVideos("run", frequency=3, root=tmp_path, force=True)
    ppo(envs()).learn(16, callback=record)
    assert mine.read_bytes() == b"mine"
    mine.unlink()
    assert names(record) == ["-episode-3", "_final-episode-0"]


def test_a_frequency_in_timesteps_may_be_written_as_a_float(tmp_path):
    record = RecordVideos("run", method="step", frequency=1.6e1, root=tmp_path)
    ppo(envs()).learn(3.2e1, callback=record)
    assert record.frequency == 16
    assert names(record)[0] == "-step-16"


def test_the_end_of_training_ends_a_video(tmp_path):
    record = RecordVideos("run", frequency=2, root=tmp_path)
    ppo(envs((20,))).learn(32, callback=record)
    assert names(record) == ["-episode-2", "_final-episode-0"]
    assert shown(record.videos[0]) == whole(1, 20)[:13]


def test_every_episode_from_the_first_on(tmp_path):
    record = RecordVideos("run", frequency=1, root=tmp_path)
    ppo(envs()).learn(16, callback=record)
    assert names(record) == [*(f"-episode-{number}" for number in (1, 2, 3)), "_final-episode-0"]
    assert [shown(video) for video in record.videos[:3]] == [whole(0), whole(1), whole(2)]


@pytest.mark.parametrize("kind", [DummyVecEnv, subprocesses])
def test_with_several_envs_it_is_the_next_episode_of_the_first(kind, tmp_path):
    env = envs((4, 5, 7), kind)
    record = RecordVideos("run", frequency=6, root=tmp_path)
    ppo(env).learn(3 * 24, callback=record)
    env.close()
    # 5 episodes have ended with step 10 and 11 with step 20; env 0 starts one at 12 and at 20.
    assert names(record) == ["-episode-6", "-episode-12", "_final-episode-0"]
    assert [shown(video) for video in record.videos[:2]] == [whole(3, 4), whole(5, 4)]


def test_from_a_step_on(tmp_path):
    record = RecordVideos("run", method="step", frequency=10, root=tmp_path)
    ppo(envs((4, 5, 7))).learn(3 * 24, callback=record)
    # Three timesteps a step. 10 is passed with step 4, where an episode starts. 20 and 40 fall into a video. 30 and 50
    # come late in an episode: what is shorter than a second, 4 frames here, goes on through the next. 70 is passed
    # with the very last step: there is nothing to show any more.
    assert names(record) == ["-step-10", "-step-30", "-step-50", "_final-episode-0"]
    first, second, third = (shown(video) for video in record.videos[:3])
    assert first == whole(1, 4)
    assert second == [(0, 2, 2), (0, 2, 3), *whole(3, 4)]
    assert third == [(0, 4, 1), (0, 4, 2), (0, 4, 3), *whole(5, 4)]
    assert record.state_dict()["next"] == 70


def test_a_played_episode_has_its_last_state_too(tmp_path):
    record = RecordVideos("run", frequency=3, root=tmp_path)
    ppo(envs(render_mode=None)).learn(40, callback=record)
    assert names(record) == ["-episode-3", "-episode-6", "_final-episode-0"]
    for video in record.videos:
        frames = shown(video)
        assert [step for _, _, step in frames] == [0, 1, 2, 3, 4, 5]
        assert len({episode for _, episode, _ in frames}) == 1


def test_played_at_a_step(tmp_path):
    record = RecordVideos("run", method="step", frequency=10, root=tmp_path)
    ppo(envs((4, 5, 7), render_mode=None)).learn(48, callback=record)
    assert names(record) == ["-step-10", "-step-20", "-step-30", "-step-40", "_final-episode-0"]


def test_the_last_video_is_played_in_an_env_of_its_own(tmp_path):
    env = envs()
    record = RecordVideos("run", root=tmp_path)
    ppo(env).learn(16, callback=record)
    assert names(record) == ["_final-episode-0"]
    assert [step for _, _, step in shown(record.videos[0])] == [0, 1, 2, 3, 4, 5]
    assert (env.envs[0].unwrapped.episode, env.envs[0].unwrapped.step_number) == (3, 1)


def test_videos_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(record_videos, "MAX_FRAMES", 6)
    record = RecordVideos("run", method="step", frequency=10, root=tmp_path)
    model = ppo(envs((1000,)))
    with monkeypatch.context() as patch:
        patch.setattr(record, "_play", lambda suffix: None)
        model.learn(24, callback=record)
    assert names(record) == ["-step-10", "-step-20"]
    assert [shown(video) for video in record.videos] == [[(0, 0, step) for step in range(10, 16)], whole(0, 25)[20:25]]


def test_real_frames_of_a_real_env(tmp_path):
    env = make_vec_env("CartPole-v1", 2, seed=0, vec_env_cls=DummyVecEnv)
    taken = []

    class Watch(BaseCallback):
        def _on_step(self):
            taken.append(env.envs[0].render())
            return True

    record = RecordVideos("run", method="step", frequency=40, root=tmp_path)
    ppo(VecNormalize(env), n_steps=128).learn(256, callback=[Watch(), record])
    frames = read_video(record.videos[0])
    assert names(record)[0] == "-step-40"
    assert frames.shape[1:] == (400, 600, 3)
    assert len(frames) >= 50  # a second of CartPole
    for frame, original in zip(frames, taken[19:], strict=False):
        assert abs(frame.astype(int) - original).mean() < 1
    assert max(abs(frame.astype(int) - frames[0]).max() for frame in frames) > 100


def test_ddpg(tmp_path):
    record = RecordVideos("run", frequency=4, root=tmp_path)
    model = DDPG("MlpPolicy", envs(), learning_starts=4, batch_size=4, buffer_size=50, seed=0, device="cpu")
    model.learn(44, callback=record)
    assert names(record) == ["-episode-4", "-episode-8", "_final-episode-0"]
    assert [shown(video) for video in record.videos[:2]] == [whole(3), whole(7)]


def test_a_second_training_counts_anew(tmp_path):
    record, model = RecordVideos("run", frequency=3, root=tmp_path), ppo(envs())
    for _ in range(2):
        model.learn(24, callback=record)
    assert names(record) == ["-episode-3", "_final-episode-0"] * 2


def test_training_goes_on_where_it_was(tmp_path):
    record, model = RecordVideos("run", frequency=3, root=tmp_path), ppo(envs())
    model.learn(24, callback=record)
    model.learn(24, callback=record, reset_num_timesteps=False)
    assert names(record) == ["-episode-3", "_final-episode-0", "-episode-6", "-episode-9", "_final-episode-0"]
    assert [shown(video) for video in record.videos[2:4]] == [whole(5), whole(8)]


def test_a_number_that_waits_for_the_first_env_is_not_forgotten(tmp_path):
    model, first = ppo(envs((20, 3, 3))), RecordVideos("run", frequency=10, root=tmp_path)
    model.learn(3 * 16, callback=first)  # 10 episodes have ended, none of env 0
    assert names(first) == ["_final-episode-0"]
    state = json.loads(json.dumps(first.state_dict()))
    second = RecordVideos("run", frequency=10, root=tmp_path, force=True)
    second.load_state_dict(state)
    model.learn(3 * 16, callback=second, reset_num_timesteps=False)
    assert names(second) == ["-episode-10", "_final-episode-0"]
    assert shown(second.videos[0]) == whole(1, 20)[:13]


@pytest.mark.parametrize(("at", "number", "shows"), [(24, 5, 6), (40, 9, 9)])  # in mid-episode, and as it starts
def test_a_video_that_was_being_recorded_is_made_after_a_resume(tmp_path, at, number, shows):
    states = {}

    class Save(BaseCallback):
        def _on_step(self):
            return True

        def _on_rollout_start(self):
            states[self.num_timesteps] = json.loads(json.dumps(first.state_dict()))

    first, second = (RecordVideos(name, frequency=number, root=tmp_path) for name in ("first", "second"))
    ppo(envs()).learn(48, callback=[first, Save()])
    assert shown(first.videos[0]) == whole(number - 1)
    model = ppo(envs()).learn(at)
    second.load_state_dict(states[at])
    model.learn(16, callback=second, reset_num_timesteps=False)
    assert names(second) == [f"-episode-{number}", "_final-episode-0"]
    assert shown(second.videos[0]) == whole(shows - 1)


def test_what_it_says(tmp_path, capsys):
    record = RecordVideos("run", method="step", frequency=1000, root=tmp_path, verbose=1)
    ppo(envs()).learn(8, callback=record)
    first, second = capsys.readouterr().out.splitlines()
    assert first == record.info()
    assert "every 1000 steps" in first
    assert second == f"RecordVideos: {record.videos[0]}"
    name, settings = json.loads(json.dumps(record.config()))
    assert (name, settings["frequency"], settings["root"]) == ("RecordVideos", 1000, str(tmp_path))
