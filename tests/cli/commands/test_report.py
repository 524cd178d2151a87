import json
import re
import shutil
import sys
from html.parser import HTMLParser

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecFrameStack

from tests.cli.conftest import BrokenRenderer, UnmaskedEnv
from velora_sb3.callbacks import SaveCheckpoints
from velora_sb3.cli import main
from velora_sb3.cli.report.page import Page

SECTIONS = ["Video", "Learning", "Evaluations", "Actions", "Configuration", "Versions", "Files"]
INSIDE = ["Hidden state", "Time constants"]


class Reader(HTMLParser):
    """Headings, complaints, facts and everything that points elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.sections, self.missing, self.links, self.tags = [], [], [], []
        self.words = ""
        self._open = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        named = dict(attrs)
        self.links += [named[name] for name in ("src", "href", "xlink:href") if named.get(name)]
        if tag == "h2":
            self.sections.append("")
            self._open = self.sections
        elif named.get("class") == "missing":
            self.missing.append("")
            self._open = self.missing
        else:
            self._open = []

    def handle_endtag(self, tag):
        self._open = []

    def handle_data(self, data):
        self.words += data
        if self._open:
            self._open[-1] += data


def report(directory, out, *options):
    assert main(["report", str(directory), "--out", str(out), "--episodes", "1", *options]) == 0
    return Reader(out.read_text(encoding="utf-8"))


@pytest.fixture
def copied(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "a <run>")


def test_everything_is_on_the_page(trained, tmp_path, capsys):
    page = report(trained, tmp_path / "x.html")
    assert page.sections == [*SECTIONS[:4], *INSIDE, *SECTIONS[4:]]
    assert page.missing == []
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'x.html'}: ")
    assert page.tags.count("svg") == 4
    assert page.tags.count("video") == 1
    for said in (
        "ddpg on Pendulum-v1",
        "LiquidTD3Policy",
        "450",
        '{"units": 8}',
        "stable-baselines3",
        "has no memory",
    ):
        assert said in page.words


def test_the_page_needs_no_other_file(trained, tmp_path):
    page = report(trained, tmp_path / "x.html")
    assert page.links
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    text = (tmp_path / "x.html").read_text()
    assert "url(http" not in text
    assert "default-src 'none'" in text
    assert str(trained.parent) not in text  # whoever gets the page need not know where it was made


def test_its_episodes_are_the_first_of_the_final_evaluation(trained, tmp_path):
    from velora_sb3.cli.saved_model import find_model
    from velora_sb3.plotting import trace_episode

    page = report(trained, tmp_path / "x.html")
    model = find_model(trained).load("ddpg", "cpu")
    expected = trace_episode(model, gym.make("Pendulum-v1"), seed=7 + 2_000).rewards.sum()
    assert f"{expected:,.2f}" in page.words


def test_its_return_is_that_of_the_evaluation_at_the_end_of_training(trained, tmp_path):
    returns = json.loads((trained / "result.json").read_text())["returns"]
    page = report(trained, tmp_path / "x.html", "--episodes", "3")
    note = f"± {np.std(returns):,.1f} over 20 episodes, seed 2007: evaluation at the end of training"
    assert f"{np.mean(returns):,.1f}{note}" in page.words
    assert all(f"{value:,.2f}" in page.words for value in returns[:3])  # those run for the page are the first of them
    assert "of LiquidTD3Policy, with target networks" in page.words


def test_the_page_of_the_best_model(trained, tmp_path):
    evaluations = pd.read_csv(trained / "evaluations.csv")
    best = evaluations.loc[evaluations["mean_return"].idxmax(), "timesteps"]
    page = report(trained, tmp_path / "x.html", "--best")
    assert f"best_model.zip of step {best}, deterministic" in page.words
    assert "over 1 episode, seed 2007: run for this page" in page.words


def test_in_the_run_directory_by_default(copied, run):
    code, _, err = run("report", copied, "--episodes", "1")
    assert (code, err) == (0, "")
    assert (copied / "report.html").is_file()
    assert run("report", copied, "--episodes", "1")[0] == 0  # and again, over the one before
    assert "report.html" not in Reader((copied / "report.html").read_text()).words


@pytest.mark.parametrize(
    ("name", "said", "gone"),
    [
        ("video.mp4", "video.mp4 is missing", []),
        ("episodes.csv", "episodes.csv is missing", []),
        ("evaluations.csv", "evaluations.csv is missing", []),
        ("model.zip", "contains no model.zip", ["Actions", *INSIDE]),
        ("config.json", "config.json is missing", ["Actions", "Versions", *INSIDE]),
    ],
)
@pytest.mark.parametrize("how", ["missing", "broken"])
def test_what_is_missing_or_broken_is_named(name, said, gone, how, copied, tmp_path, capsys):
    if how == "missing":
        (copied / name).unlink()
    elif name == "video.mp4":
        pytest.skip("whether a video plays is the browser's business")
    else:
        (copied / name).write_bytes(b"\x00\xffnonsense")
        said = name
    page = report(copied, tmp_path / "x.html")
    assert [section for section in [*SECTIONS, *INSIDE] if section not in page.sections] == gone
    assert any(said in missing for missing in page.missing)
    assert "Traceback" not in page.words
    assert str(copied.parent) not in (tmp_path / "x.html").read_text()
    printed = capsys.readouterr().out
    assert all(f"not on the page: {missing}" in printed for missing in page.missing)


def test_a_run_that_was_killed_names_its_checkpoints(copied, tmp_path):
    saved = copied / "checkpoints" / "saves" / "Pendulum_100"
    saved.mkdir(parents=True)
    (copied / "model.zip").rename(saved / "model.zip")
    (missing,) = report(copied, tmp_path / "x.html").missing
    assert missing.endswith(f"its run did not finish. For its latest checkpoint, pass {copied.name}/checkpoints")


def test_an_environment_that_cannot_be_made_again_is_named(tmp_path):
    settings = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "device": "cpu"}
    envs = {
        "stacked": VecFrameStack(make_vec_env("CartPole-v1"), 4),
        "own": UnmaskedEnv(),
    }
    for name, env in envs.items():
        PPO("MlpPolicy", env, **settings).learn(16, callback=SaveCheckpoints(name, root=tmp_path))
    *_, missing = report(tmp_path / "stacked", tmp_path / "x.html").missing
    assert "the model does not fit CartPole-v1: Observation spaces do not match" in missing
    assert "If it was trained with wrappers, register an id for the wrapped environment" in missing
    *_, missing = report(tmp_path / "own", tmp_path / "x.html").missing
    assert missing == "no episodes: the run's environment has no Gymnasium id, so it cannot be made again"


def test_a_table_without_its_columns(copied, tmp_path):
    (copied / "evaluations.csv").write_text("timesteps,other\n1,2\n")
    assert report(copied, tmp_path / "x.html").missing == ["evaluations.csv has no column mean_return, std_return"]


def test_a_large_video_becomes_pictures(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("velora_sb3.cli.report.sections.LARGEST_VIDEO", 1000)
    page = report(trained, tmp_path / "x.html")
    assert "video" not in page.tags
    assert page.tags.count("img") in (11, 12, 13)
    assert "too large for this page" in page.words


def test_a_policy_without_liquid_parts(run, tmp_path):
    options = ("--policy", "MlpPolicy", "--steps", "64", "--eval-freq", "0", "--no-video", "--seed", "1")
    small = ("--hyperparams", '{"n_steps": 32, "batch_size": 32, "learning_rate": 0.001, "clip_range": 0.2}')
    assert (
        run("train", "--algo", "ppo", "--env", "CartPole-v1", "--n-envs", "1", "--run-dir", "mlp", *options, *small)[0]
        == 0
    )
    page = report(tmp_path / "mlp", tmp_path / "x.html")
    assert page.sections == SECTIONS
    assert page.missing == ["video.mp4 is missing"]
    assert "no evaluations during training" in page.words


def test_a_wired_policy_shows_its_wiring_and_masks_are_obeyed(run, tmp_path):
    options = ("--steps", "64", "--eval-freq", "0", "--no-video", "--policy-kwargs", "units: 8\nwiring: ncp")
    small = ("--hyperparams", '{"n_steps": 32, "batch_size": 32}')
    algorithm = ("train", "--algo", "recurrent_maskable_ppo", "--env", "VeloraMasked-v0", "--run-dir", "wired")
    assert run(*algorithm, *options, *small)[0] == 0
    page = report(tmp_path / "wired", tmp_path / "x.html")
    assert page.sections == [*SECTIONS[:4], "Wiring", *INSIDE, *SECTIONS[4:]]
    assert {"excitatory", "inhibitory"} <= set(re.findall(r"\w+", page.words))
    assert "10.00" in page.words  # every action is one of those that count


def test_a_renderer_that_fails_is_named(run, tmp_path, monkeypatch):
    options = ("--steps", "32", "--eval-freq", "0", "--no-video", "--hyperparams", '{"n_steps": 16, "batch_size": 16}')
    assert run("train", "--algo", "ppo", "--env", "VeloraBrokenRenderer-v0", "--run-dir", "broken", *options)[0] == 0
    monkeypatch.setattr(BrokenRenderer, "renders", 1)
    page = report(tmp_path / "broken", tmp_path / "x.html")
    assert "no frames above the hidden state: the display is gone" in page.missing


def test_without_matplotlib(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    page = report(trained, tmp_path / "x.html")
    assert page.sections == [*SECTIONS[:4], *INSIDE, *SECTIONS[4:]]
    assert len(page.missing) == 4
    assert all('pip install "velora-sb3[plot]"' in missing for missing in page.missing)


def test_an_environment_of_the_user_s_own(run, tmp_path, monkeypatch):
    save = SaveCheckpoints("run", root=tmp_path)
    PPO("MlpPolicy", "VeloraUnmasked-v0", n_steps=16, batch_size=16, n_epochs=1, device="cpu").learn(16, callback=save)
    (tmp_path / "velora_own_envs.py").write_text(
        "import gymnasium as gym\ngym.register('VeloraUnmasked-v0', 'tests.cli.conftest:UnmaskedEnv')"
    )
    monkeypatch.delitem(gym.registry, "VeloraUnmasked-v0")
    missing = "unknown env 'VeloraUnmasked-v0'"
    assert any(missing in one for one in report(tmp_path / "run", tmp_path / "x.html").missing)
    page = report(tmp_path / "run", tmp_path / "x.html", "--gym-packages", "velora_own_envs")
    assert not any(missing in one for one in page.missing)
    code, _, err = run("report", "run", "--gym-packages", "gone")
    assert (code, err.count("\n")) == (2, 1) and "--gym-packages gone: No module named 'gone'" in err


def test_text_is_escaped(copied, tmp_path):
    config = json.loads((copied / "config.json").read_text())
    config["policy_kwargs"] = {"<script>alert(1)</script>": "\"'&"}
    config["versions"] = {"<b>": "</style><i>"}
    (copied / "config.json").write_text(json.dumps(config))
    (copied / "evaluations.csv").write_text("timesteps,mean_return,std_return,<u>\n1,2,3,<img src=x>\n")
    (copied / "<svg onload=x>.txt").write_text("")
    text = (tmp_path / "x.html", report(copied, tmp_path / "x.html"))[0].read_text()
    for wrong in ("<script>", "<b>", "<i>", "<u>", "<img src=x>", "<svg onload", "a <run>"):
        assert wrong not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


@pytest.mark.parametrize("add", ["section", "text", "lacks"])
def test_every_piece_escapes(add):
    page = Page("<title>", "<sub>", [("<n>", "<v>", "<s>")])
    getattr(page, add)("<x>")
    page.table([("<a>", "<b>")], ("<c>", "<d>"))
    page.stills([np.zeros((2, 2, 3), np.uint8)], "<e>")
    page.video(b"", "<f>")
    text = page.html("<g>")
    assert [mark for mark in "nvsxabcdefg" if f"<{mark}>" in text or f"&lt;{mark}&gt;" not in text] == []
    assert text.count("<title>") == 1


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["nowhere"], "no such directory: nowhere"),
        (
            ["empty"],
            "empty is not a run directory of velora-sb3 train or SaveCheckpoints: it contains none of ",
        ),
        (["RUN", "--out", "x.pdf"], "--out x.pdf: expected a name that ends in .html or .htm"),
        (["RUN", "--out", "missing/x.html"], "--out missing/x.html: no such directory: missing"),
        (["RUN", "--episodes", "0"], "must be at least 1"),
    ],
)
def test_mistakes(argv, said, trained, run, tmp_path):
    (tmp_path / "empty").mkdir()
    code, out, err = run("report", *(trained if word == "RUN" else word for word in argv))
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
