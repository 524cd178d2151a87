import pytest

from velora_sb3.export import parity


@pytest.fixture
def few_steps(monkeypatch):
    """Compare exported policies with their models over fewer steps than users get."""
    monkeypatch.setattr(parity, "STEPS", 24)
    monkeypatch.setattr(parity, "EPISODE", 3)
