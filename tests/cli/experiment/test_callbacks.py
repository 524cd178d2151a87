import json
import sqlite3
from pathlib import Path

import pytest

from velora_sb3.video.reader import read_video

SMALL = (
    *("train", "--algo", "dqn", "--env", "CartPole-v1", "--seed", "1", "--policy-kwargs", "units: 8"),
    *("--hyperparams", '{"learning_starts": 50, "train_freq": 16}', "--run-dir", "run", "--no-video"),
)


def test_checkpoints_and_metrics(run):
    code, out, err = run(
        *SMALL, "--steps", "400", "--checkpoint-every", "96", "--metrics", "all.db", "--eval-freq", "0"
    )
    assert (code, err) == (0, ""), out
    saves = {path.name for path in Path("run/checkpoints/saves").iterdir()}
    assert saves == {"CartPole_384_steps", "CartPole_final"}  # the newest two
    completed = json.loads(Path("run/checkpoints/completed.json").read_text())
    assert completed["steps"] == 400
    assert not completed["interrupted"]
    (episodes,) = sqlite3.connect("all.db").execute("SELECT COUNT(*) FROM episodes").fetchone()
    assert episodes == completed["episodes"]
    config = json.loads(Path("run/config.json").read_text())
    assert (config["checkpoint_every"], config["metrics"], config["target"]) == (
        96,
        str(Path("all.db").absolute()),
        None,
    )


@pytest.mark.parametrize("evaluations", ["0", "100"])
def test_the_target_stops_training(run, evaluations):
    code, out, _ = run(*SMALL, "--steps", "2000", "--target", "8", "--patience", "2", "--eval-freq", evaluations)
    assert code == 0
    assert "stopped early: the return reached 8 (2 times in a row)" in " ".join(out.split())
    assert ("in the evaluation" in " ".join(out.split())) == (evaluations == "100")
    assert not Path("run/checkpoints/videos").exists()


def test_videos_of_training(run):
    code, _, error = run(*SMALL[:-1], "--no-video", "--steps", "200", "--record-every", "4", "--eval-freq", "0")
    assert code == 2 and "leave one of them out" in error
    code, out, _ = run(*SMALL[:-1], "--steps", "200", "--record-every", "4", "--eval-freq", "0")
    assert code == 0, out
    videos = sorted(path.name for path in Path("run/checkpoints/videos").iterdir())
    assert "CartPole-episode-4.mp4" in videos
    assert "CartPole_final-episode-0.mp4" in videos
    assert len(read_video(Path("run/checkpoints/videos/CartPole-episode-4.mp4"))) > 5


def test_a_tracker(run, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    code, out, _ = run(*SMALL, "--steps", "200", "--track", "wandb", "--eval-freq", "0")
    assert code == 0, out
    assert list(Path("wandb").glob("offline-run-*/run-*.wandb"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--target", "nan"), "--target: target must be a finite number, got nan"),
        (("--patience", "0"), "must be at least 1"),
        (("--track", "mlflow"), "invalid choice: 'mlflow'"),
        (("--checkpoint-every", "-1"), "must be at least 0"),
    ],
)
def test_mistakes_leave_nothing_behind(run, options, said):
    code, _, err = run(*SMALL, "--steps", "100", *options)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert not Path("run").exists()
