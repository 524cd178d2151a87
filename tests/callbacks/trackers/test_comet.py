import pytest

from tests.tracking.records import without_accounts, without_home
from velora_sb3.callbacks import CometAnalytics

pytest.importorskip("comet_ml")


@pytest.fixture(autouse=True)
def no_accounts(tmp_path, monkeypatch):
    without_accounts(monkeypatch, tmp_path)


def test_online_needs_a_key():
    with pytest.raises(ValueError, match="online=True needs an API key: set COMET_API_KEY or run `comet login`"):
        CometAnalytics("project", online=True)


def test_without_a_key_it_goes_offline_and_says_so_once(capsys):
    callback = CometAnalytics("project")
    assert callback.info().endswith("to disk")
    notice = "CometAnalytics: no API key found, recording to disk; to record online, "
    notice += "set COMET_API_KEY or run `comet login`\n"
    assert capsys.readouterr().out == notice


def test_with_a_key_it_goes_online(monkeypatch, capsys):
    monkeypatch.setenv("COMET_API_KEY", "k" * 25)
    assert CometAnalytics("project").info().endswith("to Comet")
    assert CometAnalytics("project", online=True).info().endswith("to Comet")
    assert CometAnalytics("project", online=False).info().endswith("to disk")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("place", ["directory", "file"])
def test_a_key_from_comets_own_configuration_counts(tmp_path, monkeypatch, place):
    path = tmp_path / ".comet.config"
    path.write_text("[comet]\napi_key = abc\n")
    monkeypatch.setenv("COMET_CONFIG", str(tmp_path if place == "directory" else path))
    assert CometAnalytics("project").info().endswith("to Comet")


def test_there_may_be_no_home_directory(tmp_path, monkeypatch):
    without_home(monkeypatch, tmp_path)
    monkeypatch.delenv("COMET_CONFIG")
    assert CometAnalytics("project").info().endswith("to disk")
    monkeypatch.setenv("COMET_CONFIG", "~/comet.config")
    assert CometAnalytics("project").info().endswith("to disk")


@pytest.mark.parametrize("text", ["[comet]\n", "[comet]\napi_key =\n", "no configuration", "[other]\napi_key = a\n"])
def test_a_configuration_without_a_key_does_not_count(tmp_path, monkeypatch, text):
    (tmp_path / ".comet.config").write_text(text)
    monkeypatch.setenv("COMET_CONFIG", str(tmp_path))
    assert CometAnalytics("project").info().endswith("to disk")


@pytest.mark.parametrize("key", ["short", "with-a-hyphen-and-long-enough-for-it", "a" * 51])
def test_keys_have_comets_form(key):
    with pytest.raises(ValueError, match="experiment_key must be 32 to 50 letters and digits"):
        CometAnalytics("project", online=False, experiment_key=key)


def test_its_settings():
    callback = CometAnalytics("project", "name", tags=["a"], experiment_key="a" * 32, online=False, checkpoints=True)
    assert callback.experiment_key == "a" * 32
    assert callback.config() == (
        "CometAnalytics",
        {
            "project_name": "project",
            "experiment_name": "name",
            "tags": ["a"],
            "experiment_key": "a" * 32,
            "online": False,
            "checkpoints": True,
        },
    )
