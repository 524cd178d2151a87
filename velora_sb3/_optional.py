"""Which optional parts of the package can be used here."""

from __future__ import annotations

import functools
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

# An extra of this package, and the modules that it brings.
EXTRAS: dict[str, tuple[str, ...]] = {
    "comet": ("comet_ml",),
    "wandb": ("wandb",),
    "video": ("imageio_ffmpeg", "pygame"),  # imageio_ffmpeg comes with moviepy, which SB3 and Gymnasium use
    "plot": ("matplotlib",),
    "monitor": ("psutil",),
    "mujoco": ("mujoco",),
    "zoo": ("rl_zoo3",),
    "benchmarks": ("popgym",),
    "finrl": ("finrl", "stockstats", "yfinance"),
    "onnx": ("onnx", "onnxruntime"),
    "ray": ("ray", "optuna"),
    "gpu": ("triton",),
    "hub": ("huggingface_hub",),
    "rllib": ("ray", "tree", "lz4"),
}
RUN_PACKAGES = ("velora-sb3", "torch", "stable-baselines3", "sb3-contrib", "gymnasium", "numpy")


def install_line(extra: str) -> str:
    """The command that installs an extra."""
    return f'pip install "velora-sb3[{extra}]"'


def missing_modules(extra: str) -> list[str]:
    """What an extra would bring and is not here. Nothing is imported to find out."""
    return [module for module in EXTRAS[extra] if find_spec(module) is None]


def require(extra: str, user: str, *modules: str) -> None:
    """Raise ``ImportError`` unless all that an extra brings, or just ``modules`` of it, is here for ``user``."""
    if missing := [name for name in missing_modules(extra) if name in (modules or EXTRAS[extra])]:
        raise ImportError(f"{user} needs {', '.join(missing)}: {install_line(extra)}")


@functools.cache
def installed_version(package: str) -> str | None:
    """The version of a package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a run depends on; one without metadata is left out."""
    found = {package: installed_version(package) for package in RUN_PACKAGES}
    return {"python": platform.python_version(), **{package: known for package, known in found.items() if known}}
