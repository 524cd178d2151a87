"""Compiling and loading: once for each user and CPU, in the cache directory or beside it, or not at all."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from velora_sb3.cells.kernels import cpu

library = cpu.library.__wrapped__  # without its cache

pytestmark = pytest.mark.skipif(cpu.library() is None, reason="no C compiler")


@pytest.fixture(autouse=True)
def source(tmp_path, monkeypatch):
    """One that compiles in no time."""
    (tmp_path / "sources").mkdir()
    monkeypatch.setattr(cpu, "SOURCES", tmp_path / "sources")
    source = tmp_path / "sources" / "source.c"
    source.write_text("int one;")
    return source


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "velora-sb3"


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_compiled_once(cache, monkeypatch):
    assert library() is not None
    assert files(cache) == ["kernels.so"]
    monkeypatch.setattr(cpu, "_compile", None)
    assert library() is not None


def test_another_source_or_compiler_is_another_library(cache, monkeypatch, source):
    assert library() is not None
    source.write_text("int two;")
    assert library() is not None
    monkeypatch.setenv("CC", "cc -DOTHER")
    assert library() is not None
    assert files(cache) == ["kernels.so"] * 3


def test_a_cache_directory_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(cpu.tempfile, "tempdir", str(tmp_path / "temporary"))
    assert library() is not None
    assert files(tmp_path / "temporary") == []


@pytest.mark.parametrize("share", [0, 0.5])
def test_a_cached_file_that_is_damaged(cache, share):
    """It is compiled again. Half a library ends the process with SIGBUS where it is loaded."""
    assert library() is not None
    (kept,) = cache.rglob("kernels.so")
    whole = kept.read_bytes()
    kept.with_name("other").write_bytes(whole[: int(share * len(whole))])
    kept.with_name("other").replace(kept)
    assert library() is not None
    assert [path.read_bytes() for path in cache.rglob("kernels.so")] == [whole]


def test_no_home(monkeypatch):
    """As for a user of a container who is not in its list of users."""
    monkeypatch.delenv("XDG_CACHE_HOME")

    def no_home(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(cpu.Path, "expanduser", no_home)
    assert library() is not None


def test_two_at_once(cache, monkeypatch):
    """As in two processes: both find nothing, both compile, and the second one replaces the first one's file."""
    both, compile_ = threading.Barrier(2), cpu._compile

    def compile_together(*arguments):
        both.wait(60)
        return compile_(*arguments)

    monkeypatch.setattr(cpu, "_compile", compile_together)
    with ThreadPoolExecutor(2) as pool:
        made = [pool.submit(library) for _ in range(2)]
    assert None not in [future.result() for future in made]
    assert files(cache) == ["kernels.so"]


@pytest.mark.parametrize(("compiler", "error"), [("/nowhere/cc", "/nowhere/cc"), ("cc 'x", "No closing quotation")])
def test_no_compiler(cache, monkeypatch, caplog, compiler, error):
    monkeypatch.setenv("CC", compiler)
    with caplog.at_level(logging.DEBUG):
        assert library() is None
    assert error in caplog.text
    assert not cache.exists()


def test_a_source_that_does_not_compile(cache, source, caplog):
    source.write_text("int broken(")
    with caplog.at_level(logging.DEBUG):
        assert library() is None
    assert "source.c" in caplog.text
    assert files(cache) == []


def test_switched_off(cache, monkeypatch):
    monkeypatch.setenv("VELORA_SB3_CPU_KERNELS", "0")
    assert library() is None
    assert not cache.exists()


def test_what_is_supported(monkeypatch):
    inputs = torch.zeros(2, 3, 4)
    assert cpu.supports(inputs, 5)
    assert not cpu.supports(inputs.double(), 5)
    assert not cpu.supports(inputs[:, :0], 5)
    assert not cpu.supports(inputs.to("meta"), 5)
    assert cpu.supports(inputs, 1_000)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert not cpu.supports(inputs, 1_000)
    assert cpu.supports_step(inputs[0], 5)
    assert cpu.supports(inputs[0, 0], 0)
    monkeypatch.setattr(cpu, "library", lambda: None)
    assert not cpu.supports(inputs, 5)
