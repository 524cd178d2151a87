import pytest
from stable_baselines3 import PPO

from tests.tracking.records import without_accounts, without_home
from velora_sb3.callbacks import WandbAnalytics

pytest.importorskip("wandb")


@pytest.fixture(autouse=True)
def no_accounts(tmp_path, monkeypatch):
    without_accounts(monkeypatch, tmp_path)


def test_without_a_key_it_goes_offline_and_says_so_once(capsys):
    assert WandbAnalytics("project").info().endswith("to disk")
    notice = "WandbAnalytics: no API key found, recording to disk; to record online, "
    notice += "set WANDB_API_KEY or run `wandb login`\n"
    assert capsys.readouterr().out == notice


@pytest.mark.parametrize("variable", ["WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"])
def test_with_a_key_it_goes_online(monkeypatch, variable):
    monkeypatch.setenv(variable, "k" * 40)
    assert WandbAnalytics("project").info().endswith("to W&B")


def test_a_key_in_netrc_is_for_its_server(tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine api.wandb.ai\n  login user\n  password secret\n")
    assert WandbAnalytics("project").info().endswith("to W&B")
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org:8080")
    assert WandbAnalytics("project").info().endswith("to disk")
    (tmp_path / "netrc").write_text("machine wandb.example.org\n  login user\n  password secret\n")
    assert WandbAnalytics("project").info().endswith("to W&B")


def test_there_may_be_no_home_directory(tmp_path, monkeypatch):
    without_home(monkeypatch, tmp_path)
    monkeypatch.delenv("NETRC")
    assert WandbAnalytics("project").info().endswith("to disk")
    monkeypatch.setenv("NETRC", "~/netrc")
    assert WandbAnalytics("project").info().endswith("to disk")


def test_a_netrc_that_is_not_text_has_no_key(tmp_path):
    (tmp_path / "netrc").write_bytes(b"\xff\xfe machine")
    assert WandbAnalytics("project").info().endswith("to disk")


def test_the_mode_is_the_arguments_then_the_environments(monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert WandbAnalytics("project").info().endswith("to disk")
    assert WandbAnalytics("project", mode="online").info().endswith("to W&B")
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("WANDB_MODE", "dryrun")
    assert WandbAnalytics("project").info().endswith("to disk")
    monkeypatch.setenv("WANDB_MODE", "run")
    assert WandbAnalytics("project").info().endswith("to W&B")
    monkeypatch.setenv("WANDB_MODE", "on")
    with pytest.raises(ValueError, match="WANDB_MODE must be one of 'online', 'offline', 'disabled', got 'on'"):
        WandbAnalytics("project")


def test_disabled_does_nothing(tmp_path):
    callback = WandbAnalytics("project", mode="disabled")
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=20, batch_size=20, n_epochs=1, device="cpu")
    model.learn(20, callback=callback)
    assert callback.location is None
    assert list(tmp_path.iterdir()) == []


def test_modes_are_wandbs():
    with pytest.raises(ValueError, match="mode must be one of 'online', 'offline', 'disabled', got 'on'"):
        WandbAnalytics("project", mode="on")


@pytest.mark.parametrize("run_id", ["", " ", " a", "a/b", "what?", "a;b"])
def test_ids_have_wandbs_form(run_id):
    with pytest.raises(ValueError, match="run_id must not be empty or contain any of"):
        WandbAnalytics("project", mode="offline", run_id=run_id)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"project": "team/project"},
            "project must have at most 128 characters without any of .*, got 'team/project'",
        ),
        ({"project": "p" * 129}, "project must have at most 128 characters"),
        ({"name": "n" * 129}, "name must have at most 128 characters, got 'nnn"),
        ({"tags": ["fine", "t" * 65]}, "a tag must have 1 to 64 characters, got 'ttt"),
        ({"tags": [""]}, "a tag must have 1 to 64 characters, got ''"),
    ],
)
def test_what_wandb_would_refuse_is_an_error_before_training(settings, said):
    with pytest.raises(ValueError, match=said):
        WandbAnalytics(**{"project": "project", "mode": "offline", **settings})


def test_its_settings():
    callback = WandbAnalytics("project", "name", tags=["a"], run_id="mine", mode="offline", checkpoints=True)
    assert callback.run_id == "mine"
    assert callback.config() == (
        "WandbAnalytics",
        {
            "project": "project",
            "name": "name",
            "tags": ["a"],
            "run_id": "mine",
            "mode": "offline",
            "checkpoints": True,
        },
    )


def test_a_sweep_gives_the_run_its_id(monkeypatch):
    callback = WandbAnalytics("project", mode="offline")
    assert len({callback._new_key() for _ in range(20)}) == 20
    monkeypatch.setenv("WANDB_RUN_ID", "swept")
    assert callback._new_key() == "swept"
