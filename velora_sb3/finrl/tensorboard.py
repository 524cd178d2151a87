"""TensorBoard, started from Python."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path


def launch_tensorboard(log_dir: str | Path = "./training_logs/", port: int = 6006) -> subprocess.Popen[bytes]:
    """Start TensorBoard beside this program, at ``http://localhost:<port>``.

    Args:
        log_dir: The folder that models log to.
        port: Where it answers.

    Returns:
        The process. It ends with ``.terminate()``, and goes on when this program ends.

    Raises:
        ImportError: If TensorBoard is not installed.
    """
    if find_spec("tensorboard") is None:
        raise ImportError("TensorBoard is not installed: pip install tensorboard")
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(log_dir), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(f"TensorBoard: http://localhost:{port}")
    return process
