"""Whole sequences in C: kernels that take the place of the loops over time on a CPU.

The sources in this folder are compiled at their first use with the system's C compiler, ``$CC`` if it is set, for
the CPU at hand. The library is kept in the user's cache directory. Without a compiler, or with
``VELORA_SB3_CPU_KERNELS=0`` in the environment, :func:`library` returns None, and the loops run in PyTorch.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from velora_sb3 import _atomic
from velora_sb3._compiler import find_compiler
from velora_sb3.cells.kernels.plain_form import needs_plain_form

SWITCH = "VELORA_SB3_CPU_KERNELS"
SOURCES = Path(__file__).parent
LIBRARY = "kernels.so"
# No -ffast-math: it loses NaN, and flushes subnormal numbers in the whole process.
FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math")
FOR_THIS_CPU = (("-march=native",), ("-mcpu=native",), ())
PATIENCE = 120  # seconds
MOST_WORK = 2**21  # multiplications of a step and a block of gates

_log = logging.getLogger(__name__)


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels; None where they cannot be compiled or loaded, or are switched off."""
    if os.environ.get(SWITCH) == "0" or sys.platform == "win32":
        return None
    try:
        return _load()
    except (OSError, ValueError, subprocess.SubprocessError) as error:  # ValueError: quotes in $CC that do not match
        details = getattr(error, "stderr", None) or ""
        _log.debug("no compiled kernels, the loops over time run in PyTorch: %s %s", error, details)
        return None


def supports(inputs: torch.Tensor, units: int) -> bool:
    """Whether a sequence ``(T, B, F)``, or a step ``(B, F)``, runs in a C kernel.

    Kernels have one thread. Steps so large that PyTorch's matrix products gain by several threads are left to them.
    An LTC has no such products: ``units`` is 0.
    """
    work = inputs.shape[-2] * units * units if units else 0
    return (
        inputs.device.type == "cpu"
        and inputs.dtype == torch.float32
        and inputs.numel() > 0
        and (work <= MOST_WORK or torch.get_num_threads() == 1)
        and library() is not None
    )


def supports_step(inputs: torch.Tensor, units: int) -> bool:
    """Whether a step ``(B, F)`` runs in a C kernel, which saves PyTorch's time between small operations."""
    return not needs_plain_form() and supports(inputs, units)  # while tracing, sizes are tensors


def _load() -> ctypes.CDLL:
    command, target = _command()
    texts = [path.read_bytes() for path in sorted(SOURCES.glob("*.[ch]"))]
    key = _digest(b"\0".join([*texts, repr(command).encode(), target]))
    try:
        cache = _cache_directory()
        for kept in cache.glob(f"{key}-*/{LIBRARY}"):
            # Loading a damaged file can end the process, so its directory is named after its content.
            if kept.parent.name == f"{key}-{_digest(kept.read_bytes())}":
                return ctypes.CDLL(str(kept))
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as private:
            path = _compile(command, Path(private))
            kept = cache / f"{key}-{_digest(path.read_bytes())}" / LIBRARY
            kept.parent.mkdir(exist_ok=True)
            _atomic.replace(path, kept)  # other processes may be compiling the same
        return ctypes.CDLL(str(kept))
    except (OSError, RuntimeError) as error:  # no home, or one that cannot be written or from which nothing may be run
        _log.debug("compiling into a temporary directory, the cache cannot be used: %s", error)
    with tempfile.TemporaryDirectory() as private:  # a loaded library stays loaded without its file
        return ctypes.CDLL(str(_compile(command, Path(private))))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _cache_directory() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path("~/.cache").expanduser()) / "velora-sb3"


def _command() -> tuple[list[str], bytes]:
    """The compiler with its flags, and what it predefines for this CPU: its version, and the instructions in use."""
    if (compiler := find_compiler()) is None:
        raise FileNotFoundError(f"no C compiler (CC={os.environ.get('CC', '')})")
    failure: subprocess.CalledProcessError | None = None
    for flags in FOR_THIS_CPU:
        command = [*compiler, *FLAGS, *flags]
        try:
            return command, _run([*command, "-dM", "-E", "-x", "c", os.devnull])
        except subprocess.CalledProcessError as error:
            failure = error
    assert failure is not None
    raise failure


def _compile(command: Sequence[str], directory: Path) -> Path:
    path = directory / LIBRARY
    _run([*command, *(str(source) for source in sorted(SOURCES.glob("*.c"))), "-o", str(path), "-lm"])
    return path


def _run(command: Sequence[str]) -> bytes:
    return subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=PATIENCE).stdout
