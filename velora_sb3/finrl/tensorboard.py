"""TensorBoard, launched from Python."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from velora_sb3._validation import check_integer


def check_tensorboard() -> None:
    """Raise ``ImportError`` if TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise ImportError("TensorBoard is not installed: pip install tensorboard")


def launch_tensorboard(log_dir: str | Path = "./training_logs/", port: int = 6006) -> subprocess.Popen[bytes]:
    """Launch TensorBoard in the background, at ``http://localhost:<port>``.

    Args:
        log_dir: Log directory of the models.
        port: Port to serve on.

    Returns:
        The process. It outlives this program; stop it with ``.terminate()``.

    Raises:
        ValueError: If ``port`` is not a port number.
        ImportError: If TensorBoard is not installed.
    """
    port = check_integer("port", port, 1, 65535)
    check_tensorboard()
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(log_dir), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(f"TensorBoard: http://localhost:{port}")
    return process
