import sys

import pytest

from velora_sb3._compiler import find_compiler
from velora_sb3._optional import EXTRAS, install_line, missing_modules
from velora_sb3.cells.kernels.cpu import library
from velora_sb3.cli.commands import doctor_checks
from velora_sb3.cli.commands.doctor_checks import Attempt, try_kernels, try_mujoco, try_training, try_video, version_of


def test_the_report(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run("doctor")
    assert code == 0
    for word in ("python", "stable-baselines3", "torch", "gymnasium", "PyYAML", "training", "works", *EXTRAS):
        assert word in out
    for extra in EXTRAS:
        assert (install_line(extra) in out) == bool(missing_modules(extra))
    assert max(map(len, out.splitlines())) <= 80


def test_a_broken_base_is_exit_code_1(run, monkeypatch):
    monkeypatch.setattr(doctor_checks, "try_training", lambda: Attempt(False, "ImportError: no torch"))
    code, out, _ = run("doctor")
    assert code == 1
    assert "fails" in out
    assert "ImportError: no torch" in out


def test_missing_extras_are_no_failure(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    code, out, _ = run("doctor")
    assert code == 0
    assert install_line("video") in out


def test_video_is_really_tried(monkeypatch):
    pytest.importorskip("imageio_ffmpeg")
    assert try_video(5) == Attempt(True, "5 of 5 frames of 500 x 500 read back")
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    assert not try_video(5).works


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("VELORA_SB3_CPU_KERNELS", "0", "switched off by VELORA_SB3_CPU_KERNELS=0"),
        ("CC", "/nowhere/cc", "no C compiler: install gcc or clang, or set CC"),
        ("CC", "cc 'x", "CC: No closing quotation"),
        ("CC", "false", "cannot be compiled"),
    ],
)
def test_kernels_are_really_tried(variable, value, reason, monkeypatch):
    library.cache_clear()
    with monkeypatch.context() as changed:
        changed.setenv(variable, value)
        attempt = try_kernels()
    library.cache_clear()
    assert not attempt.works
    assert attempt.detail.startswith(f"{reason}; sequences run step by step")
    assert try_kernels().works == (find_compiler() is not None)


def test_training_is_really_tried(monkeypatch):
    assert try_training().works
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    assert not try_training().works


@pytest.mark.parametrize(
    ("script", "works", "detail"),
    [
        ("print('(480, 480, 3)')", True, "a frame of (480, 480, 3)"),
        ("raise RuntimeError('no EGL')", False, "RuntimeError: no EGL"),
        ("import os; os.abort()", False, "exit code -6"),
        ("import time; time.sleep(60)", False, "no frame within 1 s"),
    ],
)
def test_a_renderer_that_ends_its_process_does_not_end_this_one(script, works, detail, monkeypatch):
    monkeypatch.setattr(doctor_checks, "_MUJOCO_SCRIPT", script)
    monkeypatch.setattr(doctor_checks, "MUJOCO_TIMEOUT_S", 1)
    monkeypatch.setenv("MUJOCO_GL", "egl")
    assert try_mujoco() == Attempt(works, f"MUJOCO_GL=egl: {detail}")


def test_versions():
    found = version_of(("rich", "no-such-package"))
    assert found["no-such-package"] == "missing"
    assert found["rich"][0].isdigit()
    assert found["velora-sb3"]
