"""What is installed."""

import gymnasium as gym
import pytest

from velora_sb3 import _optional
from velora_sb3._optional import versions
from velora_sb3.tune import TuneReport


def test_versions():
    assert versions()["gymnasium"] == gym.__version__
    assert set(versions()) == {
        "python", "velora-sb3", "torch", "stable-baselines3", "sb3-contrib", "gymnasium", "numpy"
    }  # fmt: skip


def test_one_module_of_an_extra_is_enough_where_no_other_is_used(monkeypatch):
    monkeypatch.setattr(_optional, "find_spec", lambda module: None if module == "optuna" else module)
    _optional.require("ray", "TuneReport", "ray")
    with pytest.raises(ImportError, match="velora-sb3 sweep needs optuna"):
        _optional.require("ray", "velora-sb3 sweep")
    monkeypatch.setattr(_optional, "find_spec", lambda module: None)
    with pytest.raises(ImportError, match=r'TuneReport needs ray: pip install "velora-sb3\[ray\]"'):
        TuneReport()


def test_tune_report_needs_no_searcher(monkeypatch):
    monkeypatch.setattr(_optional, "find_spec", lambda module: None if module == "optuna" else module)
    TuneReport()


def test_a_package_without_metadata_is_left_out(monkeypatch):
    monkeypatch.setattr(_optional, "RUN_PACKAGES", ("numpy", "no-such-package"))
    assert set(versions()) == {"python", "numpy"}
