"""The frames of a video file."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np

from velora_sb3._optional import require


def read_video(path: Path) -> np.ndarray:
    """Decode a short video.

    Returns:
        Frames ``(N, height, width, 3)``, all in memory.
    """
    return _decode(path, [])


def still_frames(path: Path, n: int) -> np.ndarray:
    """Decode about ``n`` evenly spaced frames of a video of any length.

    Returns:
        Frames ``(N, height, width, 3)``, at most 320 wide.
    """
    require("video", "decoding a video")
    import imageio_ffmpeg  # type: ignore[import-untyped]

    _, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    return _decode(path, ["-vf", f"fps={n / max(seconds, 0.1):.6f},scale='min(320,iw)':-2"])


def _decode(path: Path, options: list[str]) -> np.ndarray:
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), *options, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    result = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    sizes = re.findall(rb"Video:.*?, (\d+)x(\d+)", result.stderr)
    if result.returncode or not sizes:
        raise ValueError(f"{path} is not a video: {result.stderr.decode(errors='replace').strip()[-200:]}")
    width, height = map(int, sizes[-1])  # of the output
    return np.frombuffer(result.stdout, np.uint8).reshape(-1, height, width, 3)
