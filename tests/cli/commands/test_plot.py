import sys

import matplotlib.image
import pytest
from stable_baselines3 import A2C

from tests.metrics.short_episodes import ppo, recorded


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    path = tmp_path_factory.mktemp("metrics") / "m.db"
    for model in (ppo(), ppo(seed=1), A2C("MlpPolicy", ppo().get_env(), seed=2)):
        recorded(64, path, model=model)
    return path


def test_all_runs(metrics, run, tmp_path):
    code, out, err = run("plot", metrics)
    assert (code, err) == (0, "")
    assert out.startswith("curves.png: 3 runs, ")
    assert matplotlib.image.imread(tmp_path / "curves.png").shape[:2] == (540, 960)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--run", "PPO_ShortEpisodes_2"], "1 run,"),
        (["--run", "1", "A2C_ShortEpisodes_1", "3"], "2 runs,"),
        (["--x", "episodes", "--smooth", "3"], "3 runs,"),
        (["--x", "seconds", "--group-by", "run"], "3 runs,"),
        (["--group-by", "algorithm, seed,status"], "3 runs,"),
        (["--out", "picture.svg"], "picture.svg: 3 runs,"),
        (["--out", "picture.pdf"], "picture.pdf: 3 runs,"),
    ],
)
def test_options(options, said, metrics, run, tmp_path):
    code, out, err = run("plot", metrics, *options)
    assert (code, err) == (0, "")
    assert said in out
    assert (tmp_path / out.partition(":")[0]).stat().st_size > 1000


def test_options_change_the_picture(metrics, run, tmp_path):
    pictures = []
    for options in ([], ["--run", "1"], ["--x", "episodes"], ["--smooth", "1"], ["--group-by", "run"]):
        assert run("plot", metrics, *options)[0] == 0
        pictures.append((tmp_path / "curves.png").read_bytes())
    assert len(set(pictures)) == 5


def test_no_episode_yet(run, tmp_path):
    from velora_sb3.metrics.database import transact

    transact(tmp_path / "m.db", lambda connection: None, 1.0, create=True)
    assert run("plot", "m.db") == (0, "curves.png: 0 runs, 0 episodes\n", "")


def test_a_directory_is_not_a_metrics_file(run):
    code, _, err = run("plot", ".")
    assert code == 2
    assert ". is a directory: pass the file that RecordMetrics or train --metrics wrote" in err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["nowhere.db"], "no such file: nowhere.db"),
        (["text"], "cannot read text: file is not a database"),
        (["METRICS", "--run", "PPO_ShortEpisode_2"], "did you mean 'PPO_ShortEpisodes_2'"),
        (["METRICS", "--run", "4"], "unknown run in "),
        (["METRICS", "--group-by", "algoritm"], "unknown column to group by 'algoritm': did you mean 'algorithm'?"),
        (["METRICS", "--x", "days"], "invalid choice: 'days'"),
        (["METRICS", "--smooth", "0"], "must be at least 1"),
        (["METRICS", "--out", "curves.bmp"], "--out curves.bmp: expected a name that ends in .png, .svg, .pdf"),
        (["METRICS", "--out", "missing/curves.png"], "cannot write missing/curves.png: No such file or directory"),
    ],
)
def test_mistakes(argv, said, metrics, run, tmp_path):
    (tmp_path / "text").write_text("no database")
    code, out, err = run("plot", *(metrics if word == "METRICS" else word for word in argv))
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_without_matplotlib(metrics, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = run("plot", metrics)
    assert code == 2
    assert err == 'velora-sb3: error: plots need matplotlib: pip install "velora-sb3[plot]"\n'
