"""What is installed."""

import gymnasium as gym

from velora_sb3 import _optional
from velora_sb3._optional import versions


def test_versions():
    assert versions()["gymnasium"] == gym.__version__
    assert set(versions()) == {
        "python", "velora-sb3", "torch", "stable-baselines3", "sb3-contrib", "gymnasium", "numpy"
    }  # fmt: skip


def test_a_package_without_metadata_is_left_out(monkeypatch):
    monkeypatch.setattr(_optional, "RUN_PACKAGES", ("numpy", "no-such-package"))
    assert set(versions()) == {"python", "numpy"}
