import huggingface_hub
import pytest
from huggingface_hub import constants

from tests.hub.server import TOKEN, Hub


def set_endpoint(monkeypatch, url):
    """What HF_ENDPOINT does before the client is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """The client with a cache of its own, without token, and with a Hub that nobody serves."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    set_endpoint(monkeypatch, "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # it would need another server
    monkeypatch.chdir(tmp_path)
    if hasattr(huggingface_hub, "close_session"):
        huggingface_hub.close_session()
    return tmp_path


@pytest.fixture
def hub(offline, monkeypatch):
    """A Hub on the loopback address, and the client logged in to it."""
    with Hub() as server:
        set_endpoint(monkeypatch, server.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server
        if hasattr(huggingface_hub, "close_session"):
            huggingface_hub.close_session()
