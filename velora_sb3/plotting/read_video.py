"""The frames of a video file."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np


def read_video(path: Path) -> np.ndarray:
    """Decode a short video with the encoder's own ffmpeg.

    Args:
        path: The file.

    Returns:
        Frames ``(N, height, width, 3)``, all in memory.

    Raises:
        ValueError: If the file holds no video.
    """
    import imageio_ffmpeg  # type: ignore[import-untyped]

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    result = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    size = re.search(rb"Video:.*?, (\d+)x(\d+)", result.stderr)
    if result.returncode or size is None:
        raise ValueError(f"{path} holds no video: {result.stderr.decode(errors='replace').strip()[-200:]}")
    width, height = int(size[1]), int(size[2])
    return np.frombuffer(result.stdout, np.uint8).reshape(-1, height, width, 3)
